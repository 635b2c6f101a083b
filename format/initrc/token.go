package initrc

import "fmt"

// A line is what AOSP's init takes as one: it ends at a newline that is
// neither escaped nor quoted.
type line struct {
	num  int // of its first physical line, from 1
	args []string
}

// A lexer cuts a script into lines as next_token of AOSP's
// system/core/init/tokenizer.cpp does: blanks separate, # starts a comment at
// the start of a token, \n \r \t \\ and an escaped newline outside quotes, no
// escapes inside quotes.
type lexer struct {
	src []byte
	pos int
	num int
}

// next returns the next line, also an empty one, and false after the last.
func (x *lexer) next() (line, bool, error) {
	if x.pos > len(x.src) {
		return line{}, false, nil
	}
	x.num++
	l := line{num: x.num}
	for {
		switch x.peek() {
		case '\n':
			x.pos++
			return l, true, nil
		case ' ', '\t', '\r':
			x.pos++
		case '#':
			for x.peek() != '\n' {
				x.pos++
			}
		default:
			text, err := x.text()
			if err != nil {
				x.pos = len(x.src) + 1
				return l, false, err
			}
			l.args = append(l.args, text)
		}
	}
}

// peek returns the byte at the position. The end of the script counts as a
// newline.
func (x *lexer) peek() byte {
	if x.pos >= len(x.src) {
		return '\n'
	}
	return x.src[x.pos]
}

// text reads one token. The position is on its first byte.
func (x *lexer) text() (string, error) {
	var tok []byte
	for {
		c := x.peek()
		switch c {
		case ' ', '\t', '\r', '\n':
			return string(tok), nil
		case '"':
			start := x.num
			for x.pos++; x.pos < len(x.src) && x.src[x.pos] != '"'; x.pos++ {
				if x.src[x.pos] == '\n' {
					x.num++
				}
				tok = append(tok, x.src[x.pos])
			}
			if x.pos >= len(x.src) {
				return "", fmt.Errorf("quote that starts on line %d has no end", start)
			}
			x.pos++
		case '\\':
			x.pos++
			tok = x.escape(tok)
		case 0:
			return "", fmt.Errorf("zero byte")
		default:
			tok = append(tok, c)
			x.pos++
		}
	}
}

// escape reads what follows a backslash.
func (x *lexer) escape(tok []byte) []byte {
	if x.pos >= len(x.src) {
		return tok
	}
	c := x.src[x.pos]
	x.pos++
	switch c {
	case 'n':
		return append(tok, '\n')
	case 'r':
		return append(tok, '\r')
	case 't':
		return append(tok, '\t')
	case '\r':
		if x.pos >= len(x.src) || x.src[x.pos] != '\n' {
			return tok
		}
		x.pos++
	case '\n':
	case 0:
		x.pos-- // for text to refuse
		return tok
	default:
		return append(tok, c)
	}
	x.num++
	for x.pos < len(x.src) && (x.src[x.pos] == ' ' || x.src[x.pos] == '\t') {
		x.pos++
	}
	return tok
}
