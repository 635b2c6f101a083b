package main

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"strings"

	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/internal/atomicfile"
	"mios/internal/progress"
)

var avbMake = command{"avb make", "[flags]", "make a vbmeta image\n" +
	"What avbtool make_vbmeta_image does. KEY of a chain partition is a key, private or public,\n" +
	"what mios avb public-key makes of it, or an image that it signed.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		var c contentFlags
		c.add(fs)
		out := fs.String("output", "", "`file` to write")
		var padding int64
		numberFlag(fs, &padding, "padding_size", "zeros up to a multiple of so many `bytes`")
		if err := parseAVB(fs, args, 0, 0); err != nil {
			return err
		}
		content, err := c.content(e)
		if err != nil {
			return err
		}
		if c.printRequired {
			minor, err := content.RequiredMinor()
			return printRequired(e, minor, err)
		}
		if *out == "" {
			return fmt.Errorf("%w: give --output FILE", errUsage)
		}
		b, err := avbtool.Make(&content)
		if err != nil {
			return err
		}
		if b, err = avbtool.Pad(b, padding); err != nil {
			return err
		}
		return writeOut(e, *out, b)
	}}

func printRequired(e env, minor uint32, err error) error {
	if err == nil {
		_, err = fmt.Fprintf(e.stdout, "1.%d\n", minor)
	}
	return err
}

// footerFlags are those of both kinds of footers.
type footerFlags struct {
	contentFlags
	o                        avbtool.FooterOptions
	salt                     string
	salted, doNotUseAB, calc bool
	noFEC, atMostOnce        bool
	fecRoots, blockSize      uint32
}

func (f *footerFlags) add(fs *flag.FlagSet) {
	f.contentFlags.add(fs)
	fs.StringVar(&f.o.Output, "output", "", outputHelp)
	fs.StringVar(&f.o.PartitionName, "partition_name", "", "`name` of the partition, without slot suffix")
	numberFlag(fs, &f.o.PartitionSize, "partition_size", "`bytes` of the partition, which the image will fill")
	fs.StringVar(&f.o.HashAlgorithm, "hash_algorithm", "sha256", "`name`: sha256 or sha512, sha1 for old images")
	fs.Func("salt", "salt in `hex` (default: a random one)", func(s string) error {
		f.salt, f.salted = s, true
		return nil
	})
	fs.BoolVar(&f.calc, "calc_max_image_size", false, "only print how large the image of the partition may be, in bytes")
	fs.StringVar(&f.o.OutputVBMeta, "output_vbmeta_image", "", "`file` to write the vbmeta image to as well")
	fs.BoolVar(&f.o.NoVBMeta, "do_not_append_vbmeta_image", false, "the image gets no vbmeta image and no footer")
	fs.BoolVar(&f.o.PersistentDigest, "use_persistent_digest", false, "the device keeps the digest, not the descriptor")
	fs.BoolVar(&f.doNotUseAB, "do_not_use_ab", false, "the partition has no slots")
}

// options checks and loads what the flags say.
func (f *footerFlags) options(e env) error {
	if f.salted {
		b, err := hex.DecodeString(f.salt)
		if err != nil {
			return fmt.Errorf("%w: --salt %q: want hexadecimal", errUsage, f.salt)
		}
		if f.o.Salt = b; b == nil {
			f.o.Salt = []byte{}
		}
	}
	if f.doNotUseAB {
		f.o.Flags |= avb.FlagDoNotUseAB
	}
	if f.atMostOnce {
		f.o.Flags |= avb.FlagCheckAtMostOnce
	}
	if f.calc {
		return nil
	}
	var err error
	f.o.Content, err = f.content(e)
	return err
}

// calculated prints what is only to be calculated, and reports whether that was
// all.
func (f *footerFlags) calculated(e env, hashtree bool) (bool, error) {
	switch {
	case f.printRequired:
		minor, err := f.o.RequiredMinor()
		return true, printRequired(e, minor, err)
	case f.calc:
		n, err := f.o.MaxImageSize(hashtree)
		if err == nil {
			_, err = fmt.Fprintln(e.stdout, n)
		}
		return true, err
	}
	return false, nil
}

var avbAddHash = command{"avb add-hash", "[flags] FILE", "add a footer with an image's digest, as boot images have\n" +
	"What avbtool add_hash_footer does. A footer that is there is replaced.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var f footerFlags
		f.add(fs)
		dynamic := fs.Bool("dynamic_partition_size", false, "the image fills no partition: as much as is needed is added")
		if err := parseAVB(fs, args, 0, 1); err != nil {
			return err
		}
		if err := f.options(e); err != nil {
			return err
		}
		switch {
		case *dynamic && f.calc:
			return fmt.Errorf("%w: --calc_max_image_size wants a --partition_size", errUsage)
		case *dynamic:
			f.o.PartitionSize = 0
		case f.o.PartitionSize == 0:
			return fmt.Errorf("%w: give --partition_size or --dynamic_partition_size", errUsage)
		}
		if done, err := f.calculated(e, false); done {
			return err
		}
		if fs.NArg() == 0 || f.o.PartitionName == "" {
			return fmt.Errorf("%w: give an image and --partition_name", errUsage)
		}
		return e.story(false).Step(ctx, "add a hash to "+fs.Arg(0), func(ctx context.Context, t *progress.Task) error {
			d, err := avbtool.AddHash(ctx, fs.Arg(0), f.o, t.Bytes)
			if err == nil {
				t.Done("%s: partition %s, %.1f MiB, %s %x", fs.Arg(0), d.PartitionName, mib(int64(d.ImageSize)), d.HashAlgorithm, d.Digest)
			}
			return err
		})
	}}

var avbAddHashtree = command{"avb add-hashtree", "[flags] FILE", "add a hash tree, FEC and a footer, as system images have\n" +
	"What avbtool add_hashtree_footer does, with SHA-256 as the default. A footer that is there is replaced.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		var f footerFlags
		f.fecRoots, f.blockSize = 2, avb.BlockSize
		f.add(fs)
		fs.Lookup("hash_algorithm").Usage = "`name`: sha256, sha512 or blake2b-256, sha1 for old images"
		fs.BoolVar(&f.noFEC, "do_not_generate_fec", false, "no FEC")
		fs.BoolVar(&f.o.InPlace, "in_place", false, "write behind the image in FILE itself, without a copy of a plain image without a footer:\n"+
			strings.Repeat(" ", 26)+"faster, but a power cut may leave a part of it")
		fs.BoolVar(&f.o.FECOfFile, "fec_of_sparse_file", false, "FEC of a sparse image as avbtool makes it: over the bytes of the sparse file,\n"+
			strings.Repeat(" ", 26)+"with which no device can repair anything (default: over the image)")
		numberFlag(fs, &f.fecRoots, "fec_num_roots", "parity bytes of 255: a `number` from 2 to 24 (default: 2)")
		numberFlag(fs, &f.blockSize, "block_size", "`bytes` of a block: 4096")
		fs.BoolVar(&f.o.NoHashtree, "no_hashtree", false, "the tree's root is computed, but the tree is not stored")
		fs.BoolVar(&f.atMostOnce, "check_at_most_once", false, "a block is verified only when it is first read")
		fs.BoolVar(&f.o.SetupAsRootfs, "setup_as_rootfs_from_kernel", false, "add kernel command lines that mount this image")
		if err := parseAVB(fs, args, 0, 1); err != nil {
			return err
		}
		if err := f.options(e); err != nil {
			return err
		}
		if f.blockSize != avb.BlockSize {
			return fmt.Errorf("%w: --block_size %d: AVB's hash trees have blocks of %d bytes", errUsage, f.blockSize, avb.BlockSize)
		}
		if f.fecRoots == 0 || f.fecRoots > 24 {
			return fmt.Errorf("%w: --fec_num_roots %d: want 2 to 24, or --do_not_generate_fec", errUsage, f.fecRoots)
		}
		if !f.noFEC {
			f.o.FECRoots = int(f.fecRoots)
		}
		if done, err := f.calculated(e, true); done {
			return err
		}
		if fs.NArg() == 0 {
			return fmt.Errorf("%w: give an image", errUsage)
		}
		return e.story(false).Step(ctx, "add a hash tree to "+fs.Arg(0), func(ctx context.Context, t *progress.Task) error {
			d, err := avbtool.AddHashtree(ctx, fs.Arg(0), f.o, t.Bytes)
			if err == nil && f.o.InPlace {
				err = atomicfile.Sync(fs.Arg(0))
			}
			if err == nil {
				t.Done("%s: %.1f MiB, %s tree of %.1f MiB, root %x", fs.Arg(0), mib(int64(d.ImageSize)), d.HashAlgorithm, mib(int64(d.TreeSize)), d.RootDigest)
			}
			return err
		})
	}}
