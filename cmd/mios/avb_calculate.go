package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"mios/build/image/avbtool"
)

var avbDigest = command{"avb digest", "[flags] FILE", "print the digest of a vbmeta image with those chained to it\n" +
	"What avbtool calculate_vbmeta_digest does: androidboot.vbmeta.digest on a device.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		hash := fs.String("hash_algorithm", "sha256", "`name`: sha256 or sha512")
		out := fs.String("output", "", "`file` to write (default: standard output)")
		if err := parseAVB(fs, args, 1, 1); err != nil {
			return err
		}
		sum, err := avbtool.VBMetaDigest(fs.Arg(0), *hash)
		if err != nil {
			return err
		}
		return writeOut(e, *out, fmt.Appendf(nil, "%x\n", sum))
	}}

var avbCmdline = command{"avb cmdline", "[flags] FILE", "print what a vbmeta image adds to the kernel's command line\n" +
	"What avbtool calculate_kernel_cmdline does.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		disabled := fs.Bool("hashtree_disabled", false, "as if dm-verity were off")
		out := fs.String("output", "", "`file` to write, without a line end (default: standard output)")
		if err := parseAVB(fs, args, 1, 1); err != nil {
			return err
		}
		s, err := avbtool.KernelCmdline(fs.Arg(0), *disabled)
		if err != nil {
			return err
		}
		if *out == "" {
			s += "\n"
		}
		return writeOut(e, *out, []byte(s))
	}}

var avbPartitionDigests = command{"avb partition-digests", "[flags] FILE", "print the digests of all partitions of a vbmeta image and those chained to it\n" +
	"What avbtool print_partition_digests does.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		out := fs.String("output", "", "`file` to write (default: standard output)")
		if err := parseAVB(fs, args, 1, 1); err != nil {
			return err
		}
		list, err := avbtool.PartitionDigests(fs.Arg(0))
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if *asJSON {
			if list == nil {
				list = []avbtool.PartitionDigest{}
			}
			text, err := json.MarshalIndent(map[string]any{"partitions": list}, "", "  ")
			if err != nil {
				return err
			}
			b.Write(append(text, '\n'))
		} else {
			for _, d := range list {
				fmt.Fprintf(&b, "%s: %s\n", d.Name, d.Digest)
			}
		}
		return writeOut(e, *out, b.Bytes())
	}}
