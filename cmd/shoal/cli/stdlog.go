package cli

import (
	"log"
	"strings"
	"unicode"

	"github.com/sirupsen/logrus"
)

// maxRemark bounds what is logged of a remark, in bytes.
const maxRemark = 256

// remarks puts what others write to package log into our log. That is net/http,
// about servers that break its rules: nothing that an operator can change. What
// such a server sent may be in it.
type remarks struct{}

func (remarks) Write(text []byte) (int, error) {
	line := strings.TrimSpace(string(text[:min(len(text), maxRemark)]))
	line = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(line, ""))
	logrus.Debug(line)
	return len(text), nil
}

// takeRemarks makes package log write to our log. The returned function takes
// that back.
func takeRemarks() func() {
	to, flags, prefix := log.Writer(), log.Flags(), log.Prefix()
	log.SetOutput(remarks{})
	log.SetFlags(0) // our log has its own time
	log.SetPrefix("")
	return func() {
		log.SetOutput(to)
		log.SetFlags(flags)
		log.SetPrefix(prefix)
	}
}
