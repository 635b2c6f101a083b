package initrc

import "bytes"

// A Kind tells what a [Scanner] found.
type Kind int

// The kinds, with their names in AOSP's parser.
const (
	End     Kind = iota // TOK_END
	Text                // TOK_TEXT
	Newline             // TOK_NEWLINE
)

// A Scanner is the plainer tokenizer of AOSP's system/core/init/parser: a #
// starts a comment anywhere outside quotes, a backslash at the start of a
// token joins the next line, one inside a token stays as it is, and quotes
// hold one token. Tables such as an fstab are read with it; scripts are not:
// [Parse] has init's own rules.
type Scanner struct {
	src []byte
}

// NewScanner returns a scanner of src.
func NewScanner(src []byte) *Scanner { return &Scanner{src} }

// Next returns the next token, and its text if it is one.
func (s *Scanner) Next() (Kind, string) {
	for len(s.src) > 0 {
		switch s.src[0] {
		case '\n':
			s.src = s.src[1:]
			return Newline, ""
		case ' ', '\t', '\r':
			s.src = s.src[1:]
		case '#':
			s.skipLine()
		case '\\':
			s.skipLine()
			if len(s.src) > 0 {
				s.src = s.src[1:]
			}
		case '"':
			return Text, s.take(1, `"`, 1)
		default:
			return Text, s.take(0, " \t\r\n#", 0)
		}
	}
	return End, ""
}

// skipLine goes to the next newline.
func (s *Scanner) skipLine() {
	i := bytes.IndexByte(s.src, '\n')
	if i < 0 {
		i = len(s.src)
	}
	s.src = s.src[i:]
}

// take returns what stands between the first skip bytes and one of the
// bytes in end, of which it consumes the first drop.
func (s *Scanner) take(skip int, end string, drop int) string {
	rest := s.src[skip:]
	i := bytes.IndexAny(rest, end)
	if i < 0 {
		i, drop = len(rest), 0
	}
	s.src = rest[i+drop:]
	return string(rest[:i])
}
