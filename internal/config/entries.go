package config

import (
	"fmt"
	"iter"
	"net/netip"
	"regexp"
	"strconv"

	"github.com/knadh/koanf/v2"
)

// entries reads a list whose entries may have those fields only.
func (r *reader) entries(key string, fields ...string) iter.Seq[*reader] {
	return func(yield func(*reader) bool) {
		value := r.k.Get(key)
		list, ok := value.([]any)
		if value != nil && !ok {
			r.wrong(key, value, "a list")
			return
		}
		for i, e := range list {
			at := fmt.Sprintf("%s[%d]", key, i)
			entry, ok := mapping(e)
			if !ok {
				r.wrong(at, e, "an entry with a "+fields[0])
				return
			}
			sub := koanf.New("\x00") // names hold dots
			for name, v := range entry {
				if near := nearest(name, fields); near != name {
					r.fail(fmt.Errorf("config: unknown key %q in %s: did you mean %q?", name, at, near))
					return
				}
				_ = sub.Set(name, v)
			}
			s := &reader{k: sub}
			more := yield(s)
			if s.err != nil {
				r.fail(fmt.Errorf("%s: %w", at, s.err))
				return
			}
			if !more {
				return
			}
		}
	}
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// flag is false if it is not there.
func (r *reader) flag(key string) bool { return r.k.Exists(key) && r.bool(key) }

// regex is nil if it is not there.
func (r *reader) regex(key string) *regexp.Regexp {
	s := r.text(key)
	if s == "" {
		return nil
	}
	re, err := regexp.Compile(s)
	if err != nil {
		r.wrong(key, strconv.Quote(s), "a regular expression: "+err.Error())
	}
	return re
}

func (r *reader) networks(key string) (all []netip.Prefix) {
	for _, s := range r.list(key) {
		p, err := netip.ParsePrefix(s)
		if addr, e := netip.ParseAddr(s); e == nil {
			p, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			r.wrong(key, strconv.Quote(s), "a list of networks such as 10.0.0.0/8 or fd00::1")
			return nil
		}
		all = append(all, p.Masked())
	}
	return all
}
