package firststage

import (
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"mios/device/dm"
)

// bootArgs is what the loader says on the kernel's command line.
type bootArgs struct {
	suffix   string // of the slot, as "_a"
	slot     int    // its number, from 0
	hash     string // of the digest, as "sha256"
	digest   []byte // of the vbmeta images that the loader verified
	unlocked bool
	mode     dm.Mode
	disabled bool // dm-verity is off, on an unlocked device
}

// parseBootArgs reads androidboot.* of the kernel's command line, and refuses
// one that does not say what to trust.
func parseBootArgs(line string) (bootArgs, error) {
	args, err := androidBoot(line)
	if err != nil {
		return bootArgs{}, err
	}
	b := bootArgs{suffix: args["slot_suffix"], hash: args["vbmeta.hash_alg"], unlocked: args["vbmeta.device_state"] == "unlocked"}
	if len(b.suffix) != 2 || b.suffix[0] != '_' || b.suffix[1] < 'a' || b.suffix[1] > 'd' {
		return bootArgs{}, fmt.Errorf("androidboot.slot_suffix=%q: want _a or _b: the loader must say which slot it took", b.suffix)
	}
	b.slot = int(b.suffix[1] - 'a')
	size := map[string]crypto.Hash{"": crypto.SHA256, "sha256": crypto.SHA256, "sha512": crypto.SHA512}[b.hash]
	if size == 0 {
		return b, fmt.Errorf("androidboot.vbmeta.hash_alg=%q: want sha256 or sha512", b.hash)
	}
	if b.hash == "" {
		b.hash = "sha256"
	}
	b.digest, err = hex.DecodeString(args["vbmeta.digest"])
	switch {
	case args["vbmeta.digest"] == "":
		return b, errors.New("androidboot.vbmeta.digest is not on the kernel's command line: start the system through the loader, which verifies it")
	case err != nil || len(b.digest) != size.Size():
		return b, fmt.Errorf("androidboot.vbmeta.digest=%q: want %d hexadecimal digits", args["vbmeta.digest"], 2*size.Size())
	}
	return b, b.setMode(args["veritymode"])
}

func (b *bootArgs) setMode(mode string) error {
	switch mode {
	case "", "enforcing":
		b.mode = dm.Restart
	case "eio":
		b.mode = dm.EIO
	case "panicking":
		b.mode = dm.Panic
	case "logging":
		b.mode = dm.Ignore
	case "disabled":
		b.disabled = true
	default:
		return fmt.Errorf("androidboot.veritymode=%q: unknown", mode)
	}
	if (b.disabled || b.mode == dm.Ignore) && !b.unlocked {
		return fmt.Errorf("androidboot.veritymode=%s on a locked device: refused", mode)
	}
	return nil
}

// androidBoot returns the arguments that begin with "androidboot.", without
// it. It refuses one that is given twice with different values: then somebody
// tries to say something else than the loader.
func androidBoot(line string) (map[string]string, error) {
	args := map[string]string{}
	for _, word := range words(line) {
		name, ok := strings.CutPrefix(word, "androidboot.")
		if !ok {
			continue
		}
		name, value, _ := strings.Cut(name, "=")
		value = strings.Trim(value, `"`)
		if old, twice := args[name]; twice && old != value {
			return nil, fmt.Errorf("androidboot.%s is on the kernel's command line twice, as %q and %q", name, old, value)
		}
		args[name] = value
	}
	return args, nil
}

// words splits at blanks that are not between double quotes, as the kernel.
func words(line string) []string {
	quoted := false
	return strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t' || r == '\n')
	})
}
