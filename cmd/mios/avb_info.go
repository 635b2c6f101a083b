package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"mios/build/image/avbtool"
	"mios/format/avb"
	"mios/internal/progress"
)

var avbInfo = command{"avb info", "[flags] FILE", "tell what an image's vbmeta image and footer say\n" +
	"With --avbtool in the words of avbtool info_image.",
	func(_ context.Context, e env, args []string) error {
		fs := flags(e)
		asJSON := fs.Bool("json", false, jsonHelp)
		theirs := fs.Bool("avbtool", false, "print what avbtool info_image prints")
		cert := fs.Bool("cert", false, "with --avbtool: certificates of the avb_cert extension too")
		out := fs.String("output", "", "`file` to write (default: standard output)")
		pubkey := fs.String("output_pubkey", "", "`file` to write the public key to, if there is one")
		if err := parseAVB(fs, args, 1, 1); err != nil {
			return err
		}
		i, err := avbtool.Inspect(fs.Arg(0))
		if err != nil {
			return err
		}
		var b bytes.Buffer
		switch page := (env{stdout: &b}); {
		case *asJSON:
			err = printJSON(page, i)
		case *theirs:
			err = i.WriteAVBTool(&b, *cert)
		default:
			printAVB(&b, i)
		}
		if err != nil {
			return err
		}
		if key := i.PublicKey(); *pubkey != "" && len(key) > 0 {
			if err := writeOut(e, *pubkey, key); err != nil {
				return err
			}
		}
		return writeOut(e, *out, b.Bytes())
	}}

// printAVB is the page of an image for people.
func printAVB(w io.Writer, i *avbtool.Info) {
	line := func(label, format string, args ...any) {
		fmt.Fprintf(w, "%-16s"+format+"\n", append([]any{label}, args...)...)
	}
	kind := "a vbmeta image"
	if i.Footer != nil {
		kind = "an image with a footer"
	}
	if i.Sparse {
		kind += ", sparse"
	}
	fmt.Fprintf(w, "%s: %s of %d bytes\n", i.File, kind, i.Size)
	if f := i.Footer; f != nil {
		line("image", "%d bytes before AVB; vbmeta image of %d at %#x", f.OriginalImageSize, f.VBMetaSize, f.VBMetaOffset)
	}
	switch {
	case i.Signature == avb.VerifyOK.String():
		line("signed", "%s, by the key with SHA-1 %s", i.Algorithm, i.PublicKeySHA1)
	case i.Algorithm == avb.None.String():
		line("signed", "no")
	default:
		line("signed", "NOT RIGHT: %s (%s)", i.Signature, i.Algorithm)
	}
	line("rollback index", "%d at location %d", i.RollbackIndex, i.RollbackIndexLocation)
	line("needs", "libavb %s", i.RequiredVersion)
	if i.Flags != 0 {
		line("flags", "%s", avbFlagNames(avb.Flags(i.Flags)))
	}
	line("made by", "%q", i.Release)
	for _, c := range i.Certificates {
		line("certificate", "key %s, version %d, usage %s", c.PublicKeySHA1, c.KeyVersion, certUsage(c.Usage))
	}
	for _, d := range i.Descriptors {
		printDescriptor(line, d)
	}
}

// avbFlagNames says what flags of a vbmeta image mean.
func avbFlagNames(f avb.Flags) string {
	var names []string
	if f&avb.FlagHashtreeDisabled != 0 {
		names = append(names, "dm-verity is off")
	}
	if f&avb.FlagVerificationDisabled != 0 {
		names = append(names, "VERIFICATION IS OFF")
	}
	if rest := f &^ (avb.FlagHashtreeDisabled | avb.FlagVerificationDisabled); rest != 0 {
		names = append(names, fmt.Sprintf("unknown %#x", uint32(rest)))
	}
	return strings.Join(names, ", ")
}

func printDescriptor(line func(label, format string, args ...any), d avbtool.Descriptor) {
	var notes string
	if avb.DescriptorFlags(d.Flags)&avb.FlagDoNotUseAB != 0 && d.Partition != "" {
		notes += ", without slots"
	}
	digest := d.Digest
	if digest == "" {
		digest = "kept by the device"
	}
	switch d.Kind {
	case "hash":
		line("hash", "%s: %d bytes, %s %s%s", d.Partition, d.ImageSize, d.HashAlgorithm, digest, notes)
	case "hashtree":
		if d.Flags&uint32(avb.FlagCheckAtMostOnce) != 0 {
			notes += ", blocks are checked once"
		}
		if d.Tree.FECRoots > 0 {
			notes += fmt.Sprintf(", FEC of %d bytes at %#x with %d roots", d.Tree.FECSize, d.Tree.FECOffset, d.Tree.FECRoots)
		}
		line("hash tree", "%s: %d bytes, tree of %d at %#x, %s root %s%s", d.Partition, d.ImageSize, d.Tree.Size, d.Tree.Offset, d.HashAlgorithm, digest, notes)
	case "chain_partition":
		line("chain", "%s: rollback index location %d, key with SHA-1 %s%s", d.Partition, d.RollbackIndexLocation, d.PublicKeySHA1, notes)
	case "property":
		if d.ValueHex != "" {
			line("property", "%s: %d bytes, not text", d.Key, len(d.ValueHex)/2)
			return
		}
		line("property", "%s: %q", d.Key, d.Value)
	case "kernel_cmdline":
		switch avb.CmdlineFlags(d.Flags) {
		case avb.CmdlineOnlyIfHashtreeEnabled:
			notes = " (if dm-verity is on)"
		case avb.CmdlineOnlyIfHashtreeDisabled:
			notes = " (if dm-verity is off)"
		}
		line("command line", "%q%s", d.Cmdline, notes)
	default:
		line(d.Kind, "descriptor of tag %d", d.Tag)
	}
}

// certUsage names a usage of avb_cert.
func certUsage(sum string) string {
	for _, usage := range []string{avb.UsageSigning, avb.UsageIntermediateAuthority, avb.UsageUnlock} {
		if s := sha256.Sum256([]byte(usage)); hex.EncodeToString(s[:]) == sum {
			return usage
		}
	}
	return sum
}

var avbVerify = command{"avb verify", "[flags] FILE", "verify an image's signature and descriptors\n" +
	"What avbtool verify_image does. The images of partitions are in the same folder, with the\n" +
	"same extension. Status 1 and what is wrong if it does not verify.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		key := fs.String("key", "", "`file` of the key that must have signed it")
		var expected []string
		listFlag(fs, &expected, "expected_chain_partition", "a chain partition that is wanted, `NAME:LOCATION:KEY`; again for more")
		var o avbtool.VerifyOptions
		fs.BoolVar(&o.Follow, "follow_chain_partitions", false, "verify the images of chain partitions too, with the keys that are named")
		fs.BoolVar(&o.AcceptZeroed, "accept_zeroed_hashtree", false, "take hash trees that are zeroed")
		asJSON := fs.Bool("json", false, jsonHelp)
		theirs := fs.Bool("avbtool", false, "print what avbtool verify_image prints")
		if err := parseAVB(fs, args, 1, 1); err != nil {
			return err
		}
		var err error
		if *key != "" {
			if o.Key, err = avbKeyBytes(e, *key); err != nil {
				return err
			}
		}
		o.Chains = map[string]*avb.ChainPartitionDescriptor{}
		for _, s := range expected {
			d, err := parseChain(e, s)
			if err != nil {
				return err
			}
			o.Chains[d.PartitionName] = d
		}
		switch name := fs.Arg(0); {
		case *asJSON:
			return verifyJSON(ctx, e, name, o)
		case *theirs:
			with := "embedded public key"
			if *key != "" {
				with = "key at " + *key
			}
			fmt.Fprintf(e.stdout, "Verifying image %s using %s\n", name, with)
			return avbtool.Verify(ctx, name, o, nil, func(c avbtool.Check) { c.WriteAVBTool(e.stdout) })
		default:
			story := e.story(false)
			return story.Step(ctx, "verify "+name, func(ctx context.Context, t *progress.Task) error {
				err := avbtool.Verify(ctx, name, o, t.Bytes, func(c avbtool.Check) {
					if line := checkLine(c); line != "" {
						story.Say("%s", line)
					}
				})
				t.Done("%s: verified", name)
				return err
			})
		}
	}}

// checkLine says what holds of an image, or nothing.
func checkLine(c avbtool.Check) string {
	switch c.Kind {
	case "vbmeta":
		if c.KeySHA1 == "" {
			return c.File + ": its vbmeta image is NOT SIGNED"
		}
		return fmt.Sprintf("%s: signed, %s, by the key with SHA-1 %s", c.File, c.Algorithm, c.KeySHA1)
	case "hash":
		return fmt.Sprintf("%s: the %s digest of its %d bytes is right", c.File, c.Algorithm, c.Size)
	case "hashtree":
		if c.Zeroed {
			return fmt.Sprintf("%s: the root digest of its %d bytes is right; the hash tree is zeroed", c.File, c.Size)
		}
		return fmt.Sprintf("%s: the %s hash tree of its %d bytes is right", c.File, c.Algorithm, c.Size)
	case "chain":
		return fmt.Sprintf("chain partition %s: as wanted", c.Partition)
	case "follow":
		return ""
	}
	return fmt.Sprintf("chain partition %s: rollback index location %d, key with SHA-1 %s", c.Partition, c.Location, c.KeySHA1)
}

// verifyJSON prints what holds and what does not.
func verifyJSON(ctx context.Context, e env, name string, o avbtool.VerifyOptions) error {
	out := struct {
		File     string          `json:"file"`
		Verified bool            `json:"verified"`
		Error    string          `json:"error,omitempty"`
		Checks   []avbtool.Check `json:"checks"`
	}{File: name, Checks: []avbtool.Check{}}
	err := avbtool.Verify(ctx, name, o, nil, func(c avbtool.Check) { out.Checks = append(out.Checks, c) })
	if out.Verified = err == nil; err != nil {
		out.Error = err.Error()
	}
	return errors.Join(err, printJSON(e, out))
}
