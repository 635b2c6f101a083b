package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/internal/atomicfile"
	"mios/internal/progress"
)

// avbCommands are what avbtool does. Their flags have avbtool's names, and take
// dashes for the underscores too.
var avbCommands = []command{
	avbInfo, avbVerify, avbMake, avbAddHash, avbAddHashtree, avbAppend, avbErase, avbZeroHashtree, avbResize, avbExtract, avbRepair,
	avbPublicKey, avbDigest, avbPartitionDigests, avbCmdline, avbSetAB,
	avbCertificate, avbPermanentAttributes, avbCertMetadata, avbUnlockCredential, avbTestImage,
}

// parseAVB is parse, with dashes in flags taken for underscores.
func parseAVB(fs *flag.FlagSet, args []string, min, max int) error {
	args = append([]string(nil), args...)
	for i, a := range args {
		if a == "--" {
			break
		}
		if !strings.HasPrefix(a, "-") {
			continue
		}
		name, value, given := strings.Cut(strings.TrimLeft(a, "-"), "=")
		under := strings.ReplaceAll(name, "-", "_")
		if fs.Lookup(name) != nil || fs.Lookup(under) == nil {
			continue
		}
		if args[i] = "--" + under; given {
			args[i] += "=" + value
		}
	}
	return parse(fs, args, min, max)
}

// numberFlag adds a flag of a number that is not negative, decimal or with 0x.
func numberFlag[T int64 | uint64 | uint32](fs *flag.FlagSet, to *T, name, help string) {
	fs.Func(name, help, func(s string) error {
		n, err := strconv.ParseUint(s, 0, 64)
		if err != nil || uint64(T(n)) != n || T(n) < 0 {
			return fmt.Errorf("want a number, decimal or with 0x, that is not negative and not too large")
		}
		*to = T(n)
		return nil
	})
}

// listFlag adds a flag that may be given several times.
func listFlag(fs *flag.FlagSet, to *[]string, name, help string) {
	fs.Func(name, help, func(s string) error {
		*to = append(*to, s)
		return nil
	})
}

// writeOut writes to the file name, or to standard output if it is "" or "-".
func writeOut(e env, name string, b []byte) error {
	if name == "" || name == "-" {
		_, err := e.stdout.Write(b)
		return err
	}
	return atomicfile.WriteBytes(name, b, 0o644)
}

// outputHelp is what --output does, in every command that changes an image.
const outputHelp = "`file` to write (default: FILE itself)"

// changeImage runs a command that changes an image as one step.
func changeImage(ctx context.Context, e env, what, name, out string, change func(ctx context.Context, p avbtool.Progress) error) error {
	return e.story(false).Step(ctx, what+" "+name, func(ctx context.Context, t *progress.Task) error {
		if out == "" {
			out = name
		}
		t.Done("%s: %s", out, what)
		return change(ctx, t.Bytes)
	})
}

var avbAppend = command{"avb append", "[flags] FILE", "add a vbmeta image of a file and a footer to an image\n" +
	"What avbtool append_vbmeta_image does. A footer that is there is replaced.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		vbmeta := fs.String("vbmeta_image", "", "`file` of the vbmeta image, or an image that has one")
		out := fs.String("output", "", outputHelp)
		var size int64
		numberFlag(fs, &size, "partition_size", "`bytes` of the partition")
		if err := parseAVB(fs, args, 1, 1); err != nil {
			return err
		}
		if *vbmeta == "" || size == 0 {
			return fmt.Errorf("%w: give --vbmeta_image and --partition_size", errUsage)
		}
		return changeImage(ctx, e, "append "+*vbmeta+" to", fs.Arg(0), *out, func(ctx context.Context, p avbtool.Progress) error {
			return avbtool.Append(ctx, fs.Arg(0), *vbmeta, *out, size, p)
		})
	}}

var avbErase = command{"avb erase", "[flags] FILE", "take the footer off an image, with what came with it\n" +
	"What avbtool erase_footer does.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		keep := fs.Bool("keep_hashtree", false, "the hash tree and FEC stay")
		out := fs.String("output", "", outputHelp)
		if err := parseAVB(fs, args, 1, 1); err != nil {
			return err
		}
		return changeImage(ctx, e, "erase the footer of", fs.Arg(0), *out, func(ctx context.Context, p avbtool.Progress) error {
			return avbtool.Erase(ctx, fs.Arg(0), *out, *keep, p)
		})
	}}

var avbZeroHashtree = command{"avb zero-hashtree", "[flags] FILE", "replace hash tree and FEC by zeros\n" +
	"What avbtool zero_hashtree does: for a device that computes them itself.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		out := fs.String("output", "", outputHelp)
		if err := parseAVB(fs, args, 1, 1); err != nil {
			return err
		}
		return changeImage(ctx, e, "zero the hash tree of", fs.Arg(0), *out, func(ctx context.Context, p avbtool.Progress) error {
			return avbtool.ZeroHashtree(ctx, fs.Arg(0), *out, p)
		})
	}}

var avbResize = command{"avb resize", "[flags] FILE", "move the footer to the end of a partition of another size\n" +
	"What avbtool resize_image does.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		out := fs.String("output", "", outputHelp)
		var size int64
		numberFlag(fs, &size, "partition_size", "`bytes` of the partition")
		if err := parseAVB(fs, args, 1, 1); err != nil {
			return err
		}
		if size == 0 {
			return fmt.Errorf("%w: give --partition_size", errUsage)
		}
		return changeImage(ctx, e, "resize", fs.Arg(0), *out, func(ctx context.Context, p avbtool.Progress) error {
			return avbtool.Resize(ctx, fs.Arg(0), *out, size, p)
		})
	}}

var avbExtract = command{"avb extract", "[flags] FILE", "write the vbmeta image of an image with a footer\n" +
	"What avbtool extract_vbmeta_image does.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		out := fs.String("output", "", "`file` to write (default: standard output)")
		var padding int64
		numberFlag(fs, &padding, "padding_size", "zeros up to a multiple of so many `bytes`")
		if err := parseAVB(fs, args, 1, 1); err != nil {
			return err
		}
		b, err := avbtool.Extract(fs.Arg(0), padding)
		if err != nil {
			return err
		}
		return writeOut(e, *out, b)
	}}

var avbSetAB = command{"avb set-ab", "[flags] MISC", "write libavb's A/B metadata into the image of a misc partition\n" +
	"What avbtool set_ab_metadata does.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		data := fs.String("slot_data", "15:7:0:14:7:0", "`priority:tries:successful` of slot a, then of slot b")
		if err := parseAVB(fs, args, 1, 1); err != nil {
			return err
		}
		words := strings.Split(*data, ":")
		if len(words) != 6 {
			return fmt.Errorf("%w: --slot_data %q: want six numbers, as 15:7:0:14:7:0", errUsage, *data)
		}
		var n [6]uint8
		for i, w := range words {
			v, err := strconv.ParseUint(w, 10, 8)
			if err != nil {
				return fmt.Errorf("%w: --slot_data %q: %q: want a number from 0 to 255", errUsage, *data, w)
			}
			n[i] = uint8(v)
		}
		return avbtool.SetAB(fs.Arg(0), avb.ABData{{Priority: n[0], TriesRemaining: n[1], SuccessfulBoot: n[2] != 0}, {Priority: n[3], TriesRemaining: n[4], SuccessfulBoot: n[5] != 0}})
	}}

var avbTestImage = command{"avb test-image", "[flags]", "make a file that holds 0, 1 … 255 again and again\n" +
	"What avbtool generate_test_image does.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		var size, start int64
		numberFlag(fs, &size, "image_size", "`bytes` of the file")
		numberFlag(fs, &start, "start_byte", "the first `byte`")
		out := fs.String("output", "", "`file` to write (default: standard output)")
		if err := parseAVB(fs, args, 0, 0); err != nil {
			return err
		}
		w := func(f io.Writer) error {
			pattern := make([]byte, 1<<16)
			for i := range pattern {
				pattern[i] = byte(int64(i) + start)
			}
			for left := size; left > 0; left -= int64(len(pattern)) {
				if _, err := f.Write(pattern[:min(int64(len(pattern)), left)]); err != nil {
					return err
				}
			}
			return nil
		}
		if *out == "" || *out == "-" {
			return w(e.stdout)
		}
		return fillImage(*out, size, func(f *os.File) error { return w(f) })
	}}
