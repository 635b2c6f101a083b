package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A copying is a call of dd.
type copying struct {
	in                io.Reader
	out               io.Writer
	block             int64
	count             int64 // blocks; -1 means all
	skip, seek        int64 // blocks
	trunc, sync, full bool
	status            string
}

func dd(ctx context.Context, e *Env, args []string) error {
	c := copying{in: ctxReader{ctx, e.Stdin}, out: e.Stdout, block: 512, count: -1, trunc: true}
	from, to, err := c.parse(args)
	if err != nil {
		return err
	}
	if from != "" {
		f, err := os.Open(e.Path(from))
		if err != nil {
			return err
		}
		defer f.Close()
		c.in = ctxReader{ctx, f}
		if c.skip > 0 {
			if _, err := f.Seek(c.skip*c.block, io.SeekStart); err == nil {
				c.skip = 0
			}
		}
	}
	var file *os.File
	if to != "" {
		if file, err = c.create(e.Path(to)); err != nil {
			return err
		}
		defer file.Close()
		c.out = file
	}
	start := time.Now()
	n, err := c.run()
	if file != nil {
		if c.sync {
			err = errors.Join(err, syncFile(file))
		}
		err = errors.Join(err, file.Close())
	}
	if took := time.Since(start); c.status != "none" {
		fmt.Fprintf(e.Stderr, "%d bytes (%s) copied, %.3f s, %s/s\n", n, human(uint64(n)), took.Seconds(), human(uint64(float64(n)/took.Seconds())))
	}
	return err
}

// syncFile makes a file durable; what cannot be, such as a pipe, needs it not.
func syncFile(f *os.File) error {
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

func (c *copying) parse(args []string) (from, to string, err error) {
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		var err error
		switch key {
		case "if":
			from = value
		case "of":
			to = value
		case "bs", "ibs", "obs":
			if c.block, err = parseSize(value); err == nil && (c.block < 1 || c.block > 1<<30) {
				err = usageError("bs: from 1 to 1G")
			}
		case "count":
			c.count, err = parseSize(value)
		case "skip", "iseek":
			c.skip, err = parseSize(value)
		case "seek", "oseek":
			c.seek, err = parseSize(value)
		case "status":
			c.status = value
		case "iflag", "oflag", "conv":
			err = c.flags(value)
		default:
			err = usageError("unknown operand " + arg)
		}
		if err != nil {
			return "", "", err
		}
	}
	return from, to, nil
}

func (c *copying) flags(list string) error {
	for f := range strings.SplitSeq(list, ",") {
		switch f {
		case "notrunc":
			c.trunc = false
		case "fsync", "fdatasync", "sync":
			c.sync = true
		case "fullblock":
			c.full = true
		default:
			return usageError("unknown flag " + f)
		}
	}
	return nil
}

func (c *copying) create(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && c.trunc && fi.Mode().IsRegular() {
		err = f.Truncate(c.seek * c.block)
	}
	if err == nil && c.seek > 0 {
		_, err = f.Seek(c.seek*c.block, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// run copies block by block and returns how many bytes it wrote.
func (c *copying) run() (total int64, err error) {
	buf := make([]byte, c.block)
	read := c.in.Read
	if c.full {
		read = func(p []byte) (int, error) { return io.ReadFull(c.in, p) }
	}
	for range c.skip {
		if _, err := read(buf); err != nil {
			return 0, noEOF(err)
		}
	}
	for n := int64(0); n != c.count; n++ {
		m, err := read(buf)
		if m > 0 {
			w, werr := c.out.Write(buf[:m])
			total += int64(w)
			if werr != nil {
				return total, werr
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
