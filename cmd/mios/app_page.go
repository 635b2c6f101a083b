package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// Widths of pages, in characters.
const (
	pageDefault = 80 // where there is no terminal
	pageMost    = 120
	pageIndent  = 12 // of the values of facts
)

// A page is text for people, wrapped to the width of their terminal. What it
// prints may come from strangers: it cannot draw on the terminal.
type page struct {
	w     io.Writer
	width int
}

func newPage(w io.Writer) *page {
	p := &page{w: w, width: pageDefault}
	if f, ok := w.(interface{ Fd() uintptr }); ok && term.IsTerminal(int(f.Fd())) {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 40 {
			p.width = min(width, pageMost)
		}
	}
	return p
}

// printable replaces what is no visible character, line breaks included.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}

// line prints one line as it is.
func (p *page) line(format string, args ...any) {
	fmt.Fprintln(p.w, strings.TrimRight(printable(fmt.Sprintf(format, args...)), " "))
}

// section prints a heading.
func (p *page) section(format string, args ...any) {
	fmt.Fprintln(p.w)
	p.line(format, args...)
}

// fact prints a name and its value, wrapped.
func (p *page) fact(name, format string, args ...any) {
	p.wrap(fmt.Sprintf("  %-*s ", pageIndent-3, name), pageIndent, strings.Fields(fmt.Sprintf(format, args...)), " ")
}

// list prints words with commas between behind a lead; further lines begin
// where the first word does.
func (p *page) list(lead string, words []string) {
	p.wrap(lead, len([]rune(lead)), words, ", ")
}

// wrap prints words behind a lead; further lines are indented. A word that is
// longer than a line stands on one of its own.
func (p *page) wrap(lead string, indent int, words []string, sep string) {
	text, used := printable(lead), len([]rune(lead))
	start := used
	for i, word := range words {
		word = printable(word)
		if i < len(words)-1 {
			word += strings.TrimRight(sep, " ")
		}
		n := len([]rune(word))
		switch {
		case used == start:
		case used+1+n > p.width:
			fmt.Fprintln(p.w, text)
			text, used = strings.Repeat(" ", indent), indent
		default:
			text, used = text+" ", used+1
		}
		text, used, start = text+word, used+n, -1
	}
	fmt.Fprintln(p.w, strings.TrimRight(text, " "))
}

// bar is a share of one as blocks, of at most n characters; what is not nothing
// shows at least a sliver.
func bar(share float64, n int) string {
	eighths := int(share*float64(8*n) + 0.5)
	if eighths == 0 && share > 0 {
		eighths = 1
	}
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s
}
