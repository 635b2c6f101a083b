// Package initrc reads and writes scripts in AOSP's init language: imports,
// actions (triggers and the commands that follow them), and services with
// their options. It knows what the words mean, not how to do it: that is
// device/init. The language is defined by system/core/init/README.md and the
// parsers beside it.
package initrc

import (
	"errors"
	"fmt"
	"strings"
)

// MaxSize is the most bytes that a script may have.
const MaxSize = 1 << 20

// A Script is what one file says.
type Script struct {
	Imports  []Import
	Actions  []Action
	Services []Service
}

// An Import names a file, or a folder of which all *.rc are meant. The path
// may have ${property} in it.
type Import struct {
	Path string
	Line int
}

// A Command is a line: a word and its arguments, as the tokenizer leaves them
// (properties are not expanded).
type Command struct {
	Args []string // at least one
	Line int
}

// String returns the command as it may stand in a script.
func (c Command) String() string { return join(c.Args) }

// A FormatError says what is wrong on which line.
type FormatError struct {
	File string
	Line int // from 1
	Msg  string
}

func (e *FormatError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg) }

// Parse reads the script src, which is called file in errors. As in AOSP, a
// section or option with an error is left out and reading goes on: the script
// is never nil and holds all that is right. The error joins one [*FormatError]
// for each mistake.
func Parse(file string, src []byte) (*Script, error) {
	p := parser{file: file, script: new(Script)}
	if len(src) > MaxSize {
		return p.script, &FormatError{file, 1, fmt.Sprintf("script of %d bytes, limit is %d", len(src), MaxSize)}
	}
	lex := lexer{src: src}
	for {
		l, ok, err := lex.next()
		if err != nil {
			p.fail(l.num, "%v", err)
		}
		if !ok {
			break
		}
		if len(l.args) > 0 {
			p.line(l)
		}
	}
	p.endSection()
	return p.script, errors.Join(p.errs...)
}

// A parser is between two lines: in an action, in a service, in neither.
type parser struct {
	file    string
	script  *Script
	errs    []error
	action  *Action
	service *Service
	broken  bool // the section's first line was refused: its lines are skipped
}

func (p *parser) fail(num int, format string, args ...any) {
	p.errs = append(p.errs, &FormatError{p.file, num, fmt.Sprintf(format, args...)})
}

func (p *parser) line(l line) {
	switch l.args[0] {
	case "on", "service", "import":
		p.endSection()
		if err := p.section(l); err != nil {
			p.broken = true
			p.fail(l.num, "%v", err)
		}
		return
	}
	switch {
	case p.action != nil:
		p.action.Commands = append(p.action.Commands, Command{l.args, l.num})
	case p.service != nil:
		if err := p.service.option(Command{l.args, l.num}); err != nil {
			p.fail(l.num, "%s: %v", l.args[0], err)
		}
	case !p.broken:
		p.fail(l.num, "%q is outside of a section: a section starts with on, service or import", l.args[0])
	}
}

// section begins what the line announces.
func (p *parser) section(l line) error {
	switch l.args[0] {
	case "import":
		if len(l.args) != 2 {
			return fmt.Errorf("import: single argument needed, %d given", len(l.args)-1)
		}
		p.script.Imports = append(p.script.Imports, Import{l.args[1], l.num})
	case "on":
		a, err := parseTriggers(l.args[1:])
		if err != nil {
			return fmt.Errorf("on: %w", err)
		}
		a.File, a.Line = p.file, l.num
		p.action = a
	case "service":
		if len(l.args) < 3 {
			return fmt.Errorf("service: name and program needed")
		}
		if !validServiceName(l.args[1]) {
			return fmt.Errorf("service: name %q is not valid", l.args[1])
		}
		p.service = newService(l.args[1], l.args[2:])
		p.service.File, p.service.Line = p.file, l.num
	}
	return nil
}

// endSection adds the section that is open to the script.
func (p *parser) endSection() {
	if a := p.action; a != nil && len(a.Commands) > 0 {
		p.script.Actions = append(p.script.Actions, *a)
	}
	if s := p.service; s != nil {
		if err := s.finish(); err != nil {
			p.fail(s.Line, "service %s: %v", s.Name, err)
		} else {
			p.script.Services = append(p.script.Services, *s)
		}
	}
	p.action, p.service, p.broken = nil, nil, false
}

// Format returns the script's text: imports, then actions, then services,
// each in their order. [Parse] makes the same script of it, but for files and
// line numbers.
func (s *Script) Format() []byte {
	var b strings.Builder
	for _, i := range s.Imports {
		fmt.Fprintf(&b, "import %s\n", quote(i.Path))
	}
	for _, a := range s.Actions {
		fmt.Fprintf(&b, "\non %s\n", a.Trigger())
		writeCommands(&b, a.Commands)
	}
	for _, v := range s.Services {
		fmt.Fprintf(&b, "\nservice %s %s\n", quote(v.Name), join(v.Args))
		writeCommands(&b, v.Options)
	}
	return []byte(b.String())
}

func writeCommands(b *strings.Builder, list []Command) {
	for _, c := range list {
		fmt.Fprintf(b, "    %s\n", c)
	}
}

func join(args []string) string {
	q := make([]string, len(args))
	for i, a := range args {
		q[i] = quote(a)
	}
	return strings.Join(q, " ")
}

// quote returns s so that the tokenizer gives s back.
func quote(s string) string {
	if s == "" {
		return `""`
	}
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == ' ' || c == '"' || c == '\\' || c == '#' && i == 0:
			b.WriteByte('\\')
			fallthrough
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
