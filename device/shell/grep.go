package shell

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A grepper is a call of grep.
type grepper struct {
	o     options
	re    *regexp.Regexp
	most  int64 // lines a file
	named bool  // show the file's name
	out   *bufio.Writer
	found bool
}

// errEnough ends the reading of a file early.
var errEnough = errors.New("enough")

func grep(ctx context.Context, e *Env, args []string) error {
	o, rest, err := parseOptions(args, "EFivnclqorRhHxwsm:e:")
	if err != nil {
		return err
	}
	pattern := o['e']
	if !o.has('e') {
		if len(rest) == 0 {
			return usageError("")
		}
		pattern, rest = rest[0], rest[1:]
	}
	g := &grepper{o: o, out: bufio.NewWriter(e.Stdout)}
	if g.most, err = o.number('m', 1<<62); err != nil {
		return err
	}
	if g.re, err = compilePattern(o, pattern); err != nil {
		return err
	}
	names, err := g.files(e, rest)
	if err != nil {
		return err
	}
	g.named = !o.has('h') && (o.has('H') || len(names) > 1 || o.has('r') || o.has('R'))
	err = inputs(ctx, e, "grep", names, g.file)
	if ferr := g.out.Flush(); ferr != nil {
		return ferr
	}
	switch {
	case g.found && (err == nil || o.has('q')):
		return nil
	case err != nil:
		return exitStatus(2)
	}
	return exitStatus(1)
}

// compilePattern makes Go's syntax of grep's: with -F none of it is special,
// and without -E the characters that POSIX's basic syntax takes literally are.
func compilePattern(o options, pattern string) (*regexp.Regexp, error) {
	switch {
	case o.has('F'):
		pattern = regexp.QuoteMeta(pattern)
	case !o.has('E'):
		pattern = fromBasic(pattern)
	}
	if o.has('w') {
		pattern = `\b(?:` + pattern + `)\b`
	}
	if o.has('x') {
		pattern = `^(?:` + pattern + `)$`
	}
	if o.has('i') {
		pattern = `(?i)` + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, usageError(err.Error())
	}
	return re, nil
}

// fromBasic swaps \( and (, and the like.
func fromBasic(pattern string) string {
	var s strings.Builder
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+1 < len(pattern):
			i++
			if strings.IndexByte("(){}|+?", pattern[i]) < 0 {
				s.WriteByte('\\')
			}
			s.WriteByte(pattern[i])
		case strings.IndexByte("(){}|+?", c) >= 0:
			s.WriteByte('\\')
			s.WriteByte(c)
		default:
			s.WriteByte(c)
		}
	}
	return s.String()
}

// files returns the files below folders where -r is given.
func (g *grepper) files(e *Env, names []string) ([]string, error) {
	if !g.o.has('r') && !g.o.has('R') {
		return names, nil
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	var files []string
	for _, name := range names {
		root := e.Path(name)
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil
			}
			rel, err := filepath.Rel(root, path)
			if err == nil {
				files = append(files, filepath.Join(name, rel))
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(files) == 0 {
		return []string{os.DevNull}, nil
	}
	return files, nil
}

func (g *grepper) file(in input) error {
	prefix := ""
	if g.named {
		prefix = in.name + ":"
	}
	n, matches := 0, int64(0)
	err := readLines(in, func(line string) error {
		n++
		if g.re.MatchString(line) == g.o.has('v') {
			return nil
		}
		g.found = true
		if matches++; g.o.has('q') || g.o.has('l') {
			return errEnough
		}
		if !g.o.has('c') {
			if err := g.show(prefix, n, line); err != nil {
				return err
			}
		}
		if matches >= g.most {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	switch {
	case g.o.has('l') && matches > 0:
		fmt.Fprintln(g.out, in.name)
	case g.o.has('c') && !g.o.has('q'):
		fmt.Fprintf(g.out, "%s%d\n", prefix, matches)
	}
	return err
}

// show prints a line, at once: who waits for one may be waiting for its effect.
func (g *grepper) show(prefix string, n int, line string) error {
	if g.o.has('n') {
		prefix += fmt.Sprintf("%d:", n)
	}
	parts := []string{line}
	if g.o.has('o') && !g.o.has('v') {
		parts = g.re.FindAllString(line, -1)
	}
	for _, p := range parts {
		fmt.Fprintf(g.out, "%s%s\n", prefix, p)
	}
	return g.out.Flush()
}

// tr replaces or deletes bytes.
func tr(ctx context.Context, e *Env, args []string) error {
	o, sets, err := parseOptions(args, "ds")
	if err != nil {
		return err
	}
	if want := 2 - len(o); len(sets) != max(want, 1) {
		return usageError("")
	}
	from := expandSet(sets[0])
	var table [256]int
	for i := range table {
		table[i] = i
	}
	for i, c := range from {
		switch {
		case o.has('d'):
			table[c] = -1
		case len(sets) > 1 && sets[1] != "":
			to := expandSet(sets[1])
			table[c] = int(to[min(i, len(to)-1)])
		}
	}
	buf := make([]byte, 32<<10)
	last := -1
	for {
		n, err := e.Stdin.Read(buf)
		out := buf[:0]
		for _, b := range buf[:n] {
			c := table[b]
			if c < 0 || o.has('s') && c == last && bytes.IndexByte(from, b) >= 0 {
				continue
			}
			last = c
			out = append(out, byte(c))
		}
		if _, werr := e.Stdout.Write(out); werr != nil {
			return werr
		}
		if err != nil {
			return noEOF(err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// expandSet reads a set of tr: a-z, \n and the like, [:lower:] and its kin.
func expandSet(s string) []byte {
	s = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\0`, "\x00", `\\`, `\`,
		"[:lower:]", "a-z", "[:upper:]", "A-Z", "[:digit:]", "0-9", "[:space:]", " \t\n\v\f\r", "[:alpha:]", "A-Za-z", "[:alnum:]", "A-Za-z0-9").Replace(s)
	var set []byte
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i+1] == '-' && s[i+2] >= s[i] {
			for c := int(s[i]); c <= int(s[i+2]); c++ {
				set = append(set, byte(c))
			}
			i += 2
			continue
		}
		set = append(set, s[i])
	}
	return set
}

// hexdump prints bytes as hexdump -C does; there is no other form.
func hexdump(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "Cn:")
	if err != nil {
		return err
	}
	n, err := o.number('n', 1<<62)
	if err != nil {
		return err
	}
	return inputs(ctx, e, "hexdump", names, func(in input) error {
		d := hex.Dumper(e.Stdout)
		defer d.Close()
		_, err := io.Copy(d, io.LimitReader(in, n))
		return err
	})
}
