package main

import (
	"crypto"
	"crypto/rsa"
	"flag"
	"fmt"
	"strconv"
	"strings"

	"mios/build/image/avbtool"
	"mios/format/avb"
)

// contentFlags say what goes into a vbmeta image.
type contentFlags struct {
	avbKeyFlags
	algorithm, metadata, release, appendRelease, setup string
	ownRelease                                         bool
	rollbackIndex                                      uint64
	location, flags                                    uint32
	props, propFiles, cmdlines, include                []string
	chains, chainsNoAB                                 []string
	treeDisabled, verificationDisabled, printRequired  bool
}

func (c *contentFlags) add(fs *flag.FlagSet) {
	c.avbKeyFlags.add(fs, "key")
	fs.StringVar(&c.algorithm, "algorithm", "", "`NAME`, as SHA256_RSA4096 (default: SHA-256 with the key's size; without a key NONE)")
	fs.StringVar(&c.metadata, "public_key_metadata", "", "`file` of public key metadata")
	numberFlag(fs, &c.rollbackIndex, "rollback_index", "rollback index, a `number`")
	numberFlag(fs, &c.location, "rollback_index_location", "`number` of the rollback index's location")
	fs.Func("internal_release_string", "`text` in place of \""+avbtool.Release+"\"", func(s string) error {
		c.release, c.ownRelease = s, true
		return nil
	})
	fs.Func("append_to_release_string", "`text` to add to the release string, after a space", func(s string) error {
		c.appendRelease = " " + s
		return nil
	})
	listFlag(fs, &c.props, "prop", "a property, `KEY:VALUE`; again for more")
	listFlag(fs, &c.propFiles, "prop_from_file", "a property whose value is a file, `KEY:FILE`; again for more")
	listFlag(fs, &c.cmdlines, "kernel_cmdline", "`text` for the kernel's command line; again for more")
	fs.StringVar(&c.setup, "setup_rootfs_from_kernel", "", "add kernel command lines that mount this `image`, which has a hash tree")
	listFlag(fs, &c.include, "include_descriptors_from_image", "take over the descriptors of this `image`; again for more")
	listFlag(fs, &c.chains, "chain_partition", "a partition with a key of its own, `NAME:LOCATION:KEY`; again for more")
	listFlag(fs, &c.chainsNoAB, "chain_partition_do_not_use_ab", "the same for a partition without slots: `NAME:LOCATION:KEY`")
	numberFlag(fs, &c.flags, "flags", "flags of the vbmeta image, a `number`")
	fs.BoolVar(&c.treeDisabled, "set_hashtree_disabled_flag", false, "dm-verity is off")
	fs.BoolVar(&c.verificationDisabled, "set_verification_disabled_flag", false, "nothing is verified")
	fs.BoolVar(&c.printRequired, "print_required_libavb_version", false, "only print which version of libavb the result needs")
}

// content loads what the flags name.
func (c *contentFlags) content(e env) (o avbtool.Content, err error) {
	o = avbtool.Content{
		RollbackIndex: c.rollbackIndex, RollbackIndexLocation: c.location, Flags: avb.Flags(c.flags),
		Release: avbtool.Release, Cmdlines: c.cmdlines, SetupRootfs: c.setup, Include: c.include,
	}
	if c.ownRelease {
		o.Release = c.release
	}
	if o.Release += c.appendRelease; len(o.Release) > avb.MaxReleaseLen {
		o.Release = o.Release[:avb.MaxReleaseLen] // as avbtool has it
		fmt.Fprintf(e.stderr, "mios: the release string is cut to %q\n", o.Release)
	}
	if c.treeDisabled {
		o.Flags |= avb.FlagHashtreeDisabled
	}
	if c.verificationDisabled {
		o.Flags |= avb.FlagVerificationDisabled
	}
	if o.Chains, err = c.chainDescriptors(e); err != nil || c.printRequired {
		return o, err
	}
	if c.metadata != "" {
		if o.PublicKeyMetadata, err = readSmall(c.metadata); err != nil {
			return o, err
		}
	}
	if o.Properties, err = c.properties(); err != nil {
		return o, err
	}
	o.Algorithm, o.Key, err = c.signs(e)
	return o, err
}

// signs returns with what and how to sign.
func (c *contentFlags) signs(e env) (a avb.Algorithm, k crypto.Signer, err error) {
	if c.algorithm != "" {
		if a, err = avb.ParseAlgorithm(c.algorithm); err != nil || a == avb.None {
			return a, nil, err
		}
	}
	if c.algorithm == "" && !c.given() {
		return avb.None, nil, nil
	}
	if k, err = c.signer(e); err != nil {
		return a, nil, err
	}
	if c.algorithm == "" {
		var pub *rsa.PublicKey
		if pub, err = rsaPublic(c.file+c.role, k); err == nil {
			a, err = avb.AlgorithmFor(crypto.SHA256, pub.N.BitLen())
		}
	}
	return a, k, err
}

// properties returns those of values, then those of files.
func (c *contentFlags) properties() (out []*avb.PropertyDescriptor, err error) {
	for _, p := range c.props {
		k, v, ok := strings.Cut(p, ":")
		if !ok {
			return nil, fmt.Errorf("%w: --prop %q: want KEY:VALUE", errUsage, p)
		}
		out = append(out, &avb.PropertyDescriptor{Key: k, Value: []byte(v)})
	}
	for _, p := range c.propFiles {
		k, name, ok := strings.Cut(p, ":")
		if !ok {
			return nil, fmt.Errorf("%w: --prop_from_file %q: want KEY:FILE", errUsage, p)
		}
		v, err := readSmall(name)
		if err != nil {
			return nil, err
		}
		out = append(out, &avb.PropertyDescriptor{Key: k, Value: v})
	}
	return out, nil
}

func (c *contentFlags) chainDescriptors(e env) (out []*avb.ChainPartitionDescriptor, err error) {
	for _, l := range []struct {
		list  []string
		flags avb.DescriptorFlags
	}{{c.chains, 0}, {c.chainsNoAB, avb.FlagDoNotUseAB}} {
		for _, s := range l.list {
			d, err := parseChain(e, s)
			if err != nil {
				return nil, err
			}
			d.Flags = l.flags
			out = append(out, d)
		}
	}
	return out, nil
}

// parseChain reads NAME:LOCATION:KEY. The key is AVB's encoding, or another
// that is put into it.
func parseChain(e env, s string) (*avb.ChainPartitionDescriptor, error) {
	words := strings.SplitN(s, ":", 3)
	if len(words) != 3 {
		return nil, fmt.Errorf("%w: chain partition %q: want NAME:LOCATION:KEY", errUsage, s)
	}
	location, err := strconv.ParseUint(words[1], 10, 32)
	if err != nil || location == 0 {
		return nil, fmt.Errorf("%w: chain partition %q: rollback index location %q: want a number from 1 on", errUsage, s, words[1])
	}
	b, err := avbKeyBytes(e, words[2])
	if err != nil { // avbtool takes any file, for loaders with keys of their own
		if b, err = readSmall(words[2]); err != nil {
			return nil, err
		}
		fmt.Fprintf(e.stderr, "mios: chain partition %s: %s holds no key that AVB knows: its %d bytes are taken as they are\n", words[0], words[2], len(b))
	}
	return &avb.ChainPartitionDescriptor{PartitionName: words[0], RollbackIndexLocation: uint32(location), PublicKey: b}, nil
}
