package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

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
	p.wrap(fmt.Sprintf("  %-*s ", pageIndent-3, name), pageIndent, strings.Fields(fmt.Sprintf(format, args...)))
}

// list prints items with commas between behind a lead; further lines begin
// where the first item does.
func (p *page) list(lead string, items []string) {
	p.wrap(lead, utf8.RuneCountInString(lead), commas(items))
}

// commas returns the items of a list with commas behind all but the last.
func commas(items []string) []string {
	words := slices.Clone(items)
	for i := range words[:max(0, len(words)-1)] {
		words[i] += ","
	}
	return words
}

// wrap prints words, which may have spaces, behind a lead; further lines are
// indented. A word that is longer than a line is broken at its spaces.
func (p *page) wrap(lead string, indent int, words []string) {
	words = slices.Clone(words)
	for i := len(words) - 1; i >= 0; i-- {
		if utf8.RuneCountInString(words[i]) > p.width-indent {
			words = slices.Replace(words, i, i+1, strings.Fields(words[i])...)
		}
	}
	text := printable(lead)
	used, empty := utf8.RuneCountInString(text), true
	for _, word := range words {
		word = printable(word)
		n := utf8.RuneCountInString(word)
		switch {
		case empty:
		case used+1+n > p.width:
			fmt.Fprintln(p.w, text)
			text, used = strings.Repeat(" ", indent), indent
		default:
			text, used = text+" ", used+1
		}
		text, used, empty = text+word, used+n, false
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
