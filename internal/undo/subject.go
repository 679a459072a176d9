package undo

import (
	"bytes"
	"reflect"
)

// Subject is what is configured.
type Subject struct {
	// Name is that of the commands shoal install and shoal uninstall.
	Name string
	// Language is what a file is written in.
	Language func(path string) Language
}

// Language is how files of a kind are understood.
type Language struct {
	// Decode is what a text says.
	Decode func(text []byte) (map[string]any, error)
	// Order is what matters of a text beside that; nil: nothing.
	Order func(text []byte) [][]string
	// TakeOut takes what was put into a file out of a text that has changed since;
	// was is nil where there was no such file. It is false if that cannot be told
	// apart. nil: hunks are looked for.
	TakeOut func(now, was []byte, v Written) ([]byte, bool)
}

// same reports whether two texts say the same.
func (l Language) same(a, b []byte) bool {
	x, err := l.Decode(a)
	if err != nil {
		return false
	}
	y, err := l.Decode(b)
	if err != nil || !reflect.DeepEqual(x, y) {
		return false
	}
	return l.Order == nil || reflect.DeepEqual(l.Order(a), l.Order(b))
}

// empty reports whether a text says nothing.
func (l Language) empty(text []byte) bool {
	tree, err := l.Decode(text)
	return err == nil && len(tree) == 0
}

// without is a file's content without what was put into it, nil if there is no
// such file then. ok is false if that cannot be told apart any more.
func (l Language) without(f *saved, now []byte) (was []byte, ok bool) {
	if now == nil {
		return nil, true
	}
	if f.Existed && bytes.Equal(now, f.Original) {
		return now, true
	}
	for _, v := range f.Versions {
		if bytes.Equal(now, v.Text) {
			if !f.Existed {
				return nil, true
			}
			return append([]byte{}, f.Original...), true
		}
	}
	for _, v := range f.Versions {
		switch out, found := l.takeOut(f, now, v); {
		case !found:
			return nil, false
		case bytes.Equal(out, now): // nothing of this version is there
		case !f.Existed && len(bytes.TrimSpace(out)) == 0:
			return nil, true
		default:
			if _, err := l.Decode(out); err != nil {
				return nil, false
			}
			return out, true
		}
	}
	return now, true
}

func (l Language) takeOut(f *saved, now []byte, v Written) ([]byte, bool) {
	if l.TakeOut == nil {
		return TakeOut(now, v.Hunks)
	}
	var was []byte
	if f.Existed {
		was = append([]byte{}, f.Original...)
	}
	return l.TakeOut(now, was, v)
}
