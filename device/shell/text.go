package shell

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

func textCommands() []Command {
	return []Command{
		{"head", "[-n LINES | -c BYTES] [FILE]...", head},
		{"tail", "[-n LINES | -c BYTES] [-f] [FILE]...", tail},
		{"wc", "[-lwc] [FILE]...", wc},
		{"grep", "[-EFivnclqorhHxw] [-m COUNT] PATTERN [FILE]...", grep},
		{"sort", "[-nru] [FILE]...", sortLines},
		{"uniq", "[-cdu] [FILE]", uniq},
		{"cut", "-c LIST | -f LIST [-d DELIMITER] [FILE]...", cut},
		{"tr", "[-d] SET1 [SET2]", tr},
		{"tee", "[-a] [FILE]...", tee},
		{"seq", "[FIRST [STEP]] LAST", seq},
		{"yes", "[STRING]", yes},
		{"hexdump", "[-C] [-n BYTES] [FILE]...", hexdump},
		{"gzip", "[-dc] [FILE]...", gzipFiles},
	}
}

// lineCount reads -n, and the old -NUMBER.
func lineCount(args []string, spec string) (options, []string, int64, error) {
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && unicode.IsDigit(rune(args[0][1])) {
		args = append([]string{"-n", args[0][1:]}, args[1:]...)
	}
	o, names, err := parseOptions(args, spec)
	if err != nil {
		return nil, nil, 0, err
	}
	n, err := o.number('n', 10)
	return o, names, n, err
}

func head(ctx context.Context, e *Env, args []string) error {
	o, names, n, err := lineCount(args, "n:c:")
	if err != nil {
		return err
	}
	bytes, err := o.number('c', -1)
	if err != nil {
		return err
	}
	return inputs(ctx, e, "head", names, func(in input) error {
		if len(names) > 1 {
			fmt.Fprintf(e.Stdout, "==> %s <==\n", in.name)
		}
		if bytes >= 0 {
			_, err := io.CopyN(e.Stdout, in, bytes)
			return noEOF(err)
		}
		r := bufio.NewReader(in)
		for range n {
			line, err := r.ReadBytes('\n')
			if _, werr := e.Stdout.Write(line); werr != nil {
				return werr
			}
			if err != nil {
				return noEOF(err)
			}
		}
		return nil
	})
}

func noEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

func tail(ctx context.Context, e *Env, args []string) error {
	o, names, n, err := lineCount(args, "n:c:fF")
	if err != nil {
		return err
	}
	size, err := o.number('c', -1)
	if err != nil {
		return err
	}
	return inputs(ctx, e, "tail", names, func(in input) error {
		if v := o['n']; strings.HasPrefix(v, "+") {
			return skipLines(e.Stdout, in, n-1)
		}
		last, err := lastOf(in, n, size)
		if err != nil {
			return err
		}
		if _, err := e.Stdout.Write(last); err != nil || !(o.has('f') || o.has('F')) {
			return err
		}
		for {
			if _, err := io.Copy(e.Stdout, in); err != nil {
				return err
			}
			if err := pause(ctx, time.Second/4); err != nil {
				return err
			}
		}
	})
}

// lastOf returns the last n lines of r, or the last size bytes where that is
// not negative. It keeps no more of r than twice that, and 64 KiB.
func lastOf(r io.Reader, n, size int64) ([]byte, error) {
	var kept []byte
	buf := make([]byte, 32<<10)
	cutoff := func(b []byte) int {
		if size >= 0 {
			return max(0, len(b)-int(size))
		}
		at := len(bytes.TrimSuffix(b, []byte("\n")))
		for range n {
			if at = bytes.LastIndexByte(b[:at], '\n'); at < 0 {
				return 0
			}
		}
		return min(at+1, len(b))
	}
	if n == 0 && size < 0 {
		_, err := io.Copy(io.Discard, r)
		return nil, err
	}
	limit := 64 << 10
	for {
		m, err := r.Read(buf)
		kept = append(kept, buf[:m]...)
		if len(kept) > limit {
			kept = slices.Clone(kept[cutoff(kept):])
			limit = max(limit, 2*len(kept))
		}
		if err != nil {
			return kept[cutoff(kept):], noEOF(err)
		}
	}
}

func skipLines(w io.Writer, r io.Reader, n int64) error {
	br := bufio.NewReader(r)
	for range n {
		for {
			_, err := br.ReadSlice('\n')
			if err == nil {
				break
			}
			if err != bufio.ErrBufferFull {
				return noEOF(err)
			}
		}
	}
	_, err := io.Copy(w, br)
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func wc(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "lwc")
	if err != nil {
		return err
	}
	if len(o) == 0 {
		o = options{'l': "", 'w': "", 'c': ""}
	}
	var total [3]int64
	show := func(n [3]int64, name string) {
		var s []string
		for i, c := range []byte("lwc") {
			if o.has(c) {
				s = append(s, strconv.FormatInt(n[i], 10))
			}
		}
		if name != "-" {
			s = append(s, name)
		}
		fmt.Fprintln(e.Stdout, strings.Join(s, " "))
	}
	err = inputs(ctx, e, "wc", names, func(in input) error {
		n, err := count(in)
		for i := range n {
			total[i] += n[i]
		}
		show(n, in.name)
		return err
	})
	if len(names) > 1 {
		show(total, "total")
	}
	return err
}

// count returns lines, words and bytes.
func count(r io.Reader) (n [3]int64, err error) {
	buf := make([]byte, 32<<10)
	word := false
	for {
		m, err := r.Read(buf)
		for _, b := range buf[:m] {
			space := b == ' ' || b >= '\t' && b <= '\r'
			if b == '\n' {
				n[0]++
			}
			if word && space || !word && !space {
				word = !word
				if word {
					n[1]++
				}
			}
		}
		n[2] += int64(m)
		if err != nil {
			return n, noEOF(err)
		}
	}
}

// readLines calls f with each line, without its end. A line may have at most
// 16 MiB.
func readLines(r io.Reader, f func(line string) error) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		if err := f(sc.Text()); err != nil {
			return err
		}
	}
	return sc.Err()
}

func tee(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "a")
	if err != nil {
		return err
	}
	flag := os.O_TRUNC
	if o.has('a') {
		flag = os.O_APPEND
	}
	writers := []io.Writer{e.Stdout}
	err = each(e, "tee", names, func(name string) error {
		f, err := os.OpenFile(e.Path(name), os.O_WRONLY|os.O_CREATE|flag, 0o666)
		if err == nil {
			writers = append(writers, f)
		}
		return err
	})
	_, cerr := io.Copy(io.MultiWriter(writers...), ctxReader{ctx, e.Stdin})
	for _, w := range writers[1:] {
		if err := w.(*os.File).Close(); err != nil && cerr == nil {
			cerr = err
		}
	}
	if cerr != nil {
		return cerr
	}
	return err
}

func seq(ctx context.Context, e *Env, args []string) error {
	v := []int64{1, 1, 1} // first, step, last
	at := map[int][]int{1: {2}, 2: {0, 2}, 3: {0, 1, 2}}[len(args)]
	if at == nil {
		return usageError("")
	}
	for i, arg := range args {
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil {
			return usageError(fmt.Sprintf("%q is not a number", arg))
		}
		v[at[i]] = n
	}
	if v[1] == 0 {
		return usageError("a step of 0")
	}
	w := bufio.NewWriter(e.Stdout)
	for n := v[0]; (v[1] > 0 && n <= v[2] || v[1] < 0 && n >= v[2]) && ctx.Err() == nil; n += v[1] {
		if _, err := fmt.Fprintln(w, n); err != nil {
			return err
		}
	}
	return w.Flush()
}

func yes(ctx context.Context, e *Env, args []string) error {
	line := "y"
	if len(args) > 0 {
		line = strings.Join(args, " ")
	}
	block := bytes.Repeat([]byte(line+"\n"), 1+4096/(len(line)+1))
	for ctx.Err() == nil {
		if _, err := e.Stdout.Write(block); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func gzipFiles(ctx context.Context, e *Env, args []string) error {
	o, names, err := parseOptions(args, "dck")
	if err != nil {
		return err
	}
	convert := func(w io.Writer, r io.Reader) error {
		if !o.has('d') {
			z := gzip.NewWriter(w)
			if _, err := io.Copy(z, r); err != nil {
				return err
			}
			return z.Close()
		}
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, z)
		return err
	}
	return inputs(ctx, e, "gzip", names, func(in input) error {
		if in.name == "-" || o.has('c') {
			return convert(e.Stdout, in)
		}
		to, ok := strings.CutSuffix(in.name, ".gz")
		switch {
		case !o.has('d'):
			to = in.name + ".gz"
		case !ok:
			return fmt.Errorf("%s: its name does not end in .gz", in.name)
		}
		f, err := os.OpenFile(e.Path(to), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return err
		}
		if err = convert(f, in); err == nil {
			err = f.Close()
		}
		if err != nil {
			f.Close()
			os.Remove(e.Path(to))
			return err
		}
		if o.has('k') {
			return nil
		}
		return os.Remove(e.Path(in.name))
	})
}
