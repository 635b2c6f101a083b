package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"text/tabwriter"

	"mios/format/sparse"
	"mios/internal/atomicfile"
	"mios/internal/progress"
)

var sparseInfo = command{"sparse info", "[flags] FILE", "print a sparse image's chunks, and compare its checksums",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		m, f, err := openSparse(fs.Arg(0))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := m.Verify(ctx); err != nil {
			return fmt.Errorf("%s: %w", fs.Arg(0), err)
		}
		if *asJSON {
			return printSparse(e, m)
		}
		fmt.Fprintf(e.stdout, "%d blocks of %d bytes: %.1f MiB, in %.1f MiB; %d chunks\n",
			m.Blocks, m.BlockSize, mib(m.Size()), mib(m.EncodedSize()), len(m.Chunks))
		if m.HasChecksum() {
			fmt.Fprintln(e.stdout, "its checksums are right")
		}
		tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(tw, "chunk\tkind\tfirst block\tblocks\tdata at\t")
		for i, c := range m.Chunks {
			fmt.Fprintf(tw, "%d\t%v\t%d\t%d\t%#x\t\n", i, c.Kind, c.Start, c.Blocks, c.Off)
		}
		return tw.Flush()
	}}

func printSparse(e env, m *sparse.Image) error {
	type chunk struct {
		Kind   string `json:"kind"` // raw, fill, hole, crc32
		Start  uint32 `json:"start"`
		Blocks uint32 `json:"blocks"`
		Offset int64  `json:"offset"`
	}
	out := struct {
		BlockSize uint32  `json:"block_size"`
		Blocks    uint32  `json:"blocks"`
		Size      int64   `json:"size"`
		Checksum  uint32  `json:"checksum,omitempty"`
		Chunks    []chunk `json:"chunks"`
	}{m.BlockSize, m.Blocks, m.Size(), m.Checksum, make([]chunk, len(m.Chunks))}
	for i, c := range m.Chunks {
		out.Chunks[i] = chunk{c.Kind.String(), c.Start, c.Blocks, c.Off}
	}
	return printJSON(e, out)
}

var sparseExpand = command{"sparse expand", "FILE... OUT", "make a plain image of sparse ones, as simg2img does\n" +
	"Several files are the pieces of one image: each fills its own part. OUT may be a\n" +
	"block device; - as the one FILE is standard input, and as OUT standard output.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		if err := parse(fs, args, 2, 1<<16); err != nil {
			return err
		}
		in, out := fs.Args()[:fs.NArg()-1], fs.Arg(fs.NArg()-1)
		switch {
		case out == "-" && len(in) > 1:
			return fmt.Errorf("%w: several pieces cannot be put together on standard output: name a file", errUsage)
		case in[0] == "-" || out == "-":
			return expandStream(e, in[0], out)
		}
		images := make([]*sparse.Image, len(in))
		for i, name := range in {
			m, f, err := openSparse(name)
			if err != nil {
				return err
			}
			defer f.Close()
			if images[i] = m; m.Size() != images[0].Size() {
				return fmt.Errorf("%s is of %d bytes, %s of %d: not pieces of one image", name, m.Size(), in[0], images[0].Size())
			}
		}
		return e.story(false).Step(ctx, "expand "+in[0], func(ctx context.Context, t *progress.Task) error {
			for i, m := range images {
				if err := m.Verify(ctx); err != nil {
					return fmt.Errorf("%s: %w", in[i], err)
				}
			}
			t.Done("%s: %.1f MiB", out, mib(images[0].Size()))
			return fillImage(out, images[0].Size(), func(f *os.File) error {
				for _, m := range images {
					if err := m.Expand(ctx, f, t.Bytes); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}}

// expandStream expands what can be read or written only once.
func expandStream(e env, in, out string) error {
	r := e.stdin
	if in != "-" {
		f, err := os.Open(in)
		if err != nil {
			return err
		}
		defer f.Close()
		r = f
	}
	raw := sparse.NewReader(bufio.NewReaderSize(r, 1<<20))
	if out == "-" {
		_, err := io.CopyBuffer(struct{ io.Writer }{e.stdout}, raw, make([]byte, 1<<20))
		return err
	}
	return fillImage(out, 0, func(f *os.File) error {
		_, err := io.CopyBuffer(struct{ io.Writer }{f}, raw, make([]byte, 1<<20))
		return err
	})
}

var sparsePack = command{"sparse pack", "[flags] FILE OUT", "make a sparse image of a plain one, as img2simg does\n" +
	"- as OUT is standard output.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		block := fs.Int64("block-size", sparse.DefaultBlockSize, "`bytes` of a block, a multiple of 4")
		if err := parse(fs, args, 2, 2); err != nil {
			return err
		}
		if *block <= 0 || *block > 1<<30 {
			return fmt.Errorf("%w: --block-size %d: want 4096, as a rule", errUsage, *block)
		}
		in, out := fs.Arg(0), fs.Arg(1)
		f, size, err := openImage(in)
		if err != nil {
			return err
		}
		defer f.Close()
		pack := func(ctx context.Context, t *progress.Task) error {
			m, err := sparse.Scan(ctx, f, size, uint32(*block), t.Bytes)
			if err != nil {
				return fmt.Errorf("%s: %w", in, err)
			}
			t.Done("%s: %.1f MiB of %.1f MiB", out, mib(m.EncodedSize()), mib(size))
			if out == "-" {
				_, err := m.WriteTo(e.stdout)
				return err
			}
			return fillImage(out, 0, func(f *os.File) error { return m.Encode(ctx, f, t.Bytes) })
		}
		return e.story(out == "-").Step(ctx, "pack "+in, pack)
	}}

// openSparse opens a sparse image, whose chunks stay in the file.
func openSparse(name string) (*sparse.Image, io.Closer, error) {
	f, size, err := openImage(name)
	if err != nil {
		return nil, nil, err
	}
	m, err := sparse.Parse(f, size)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, f, nil
}

// openImage opens a file or block device, and tells its size in bytes.
func openImage(name string) (*os.File, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("%s: %w: give a file, or a block device", name, err)
	}
	return f, size, nil
}

// fillImage writes an image of size bytes; with 0, of as many as write writes.
// A file appears whole or not at all; a block device is written to as it is.
func fillImage(name string, size int64, write func(f *os.File) error) error {
	if fi, err := os.Stat(name); err == nil && fi.Mode()&fs.ModeDevice != 0 {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := write(f); err != nil {
			return err
		}
		return f.Sync()
	}
	return atomicfile.Fill(name, 0o644, func(f *os.File) error {
		if err := write(f); err != nil || size == 0 {
			return err
		}
		return f.Truncate(size)
	})
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
