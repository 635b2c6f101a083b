package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"mios/internal/atomicfile"
	"mios/internal/debian"
)

// kernelLock is where the pins stand in this repository.
const kernelLock = "internal/debian/kernel.lock.json"

var kernelPin = command{"kernel pin", "[-o FILE] [--cache DIR] [--line LINE]", "pin the newest kernel that Debian has, for each architecture\n" +
	"Writes package, version and SHA-256 of the newest kernel of the line into the lock file; the next build takes it.", runKernelPin}

func runKernelPin(ctx context.Context, e env, args []string) error {
	set := flags(e)
	out := set.String("o", kernelLock, "lock `file` to write; pins of other lines in it stay")
	cache := set.String("cache", defaultCache(), "`folder` for apt's lists")
	line := set.String("line", debian.Line, "`family` of kernels: linux-image-VERSION[-FLAVOUR]")
	if err := parse(set, args, 0, 0); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(*out)); err != nil {
		return fmt.Errorf("%w: name the lock file with -o", err)
	}
	var pins []debian.Pin
	old, err := os.ReadFile(*out)
	if err == nil {
		pins, err = debian.ParsePins(old)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", *out, err)
	}
	kernels := debian.Kernels{Cache: *cache}
	for _, arch := range debian.Architectures {
		p, err := kernels.Newest(ctx, *line, arch)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(pins, func(q debian.Pin) bool { return q.Line == p.Line && q.Arch == p.Arch })
		switch {
		case i < 0:
			pins = append(pins, p)
			fmt.Fprintf(e.stdout, "%s: pinned %s %s\n", arch, p.Package, p.Version)
		case pins[i] == p:
			fmt.Fprintf(e.stdout, "%s: %s %s is the newest already\n", arch, p.Package, p.Version)
		default:
			fmt.Fprintf(e.stdout, "%s: pinned %s %s, was %s %s\n", arch, p.Package, p.Version, pins[i].Package, pins[i].Version)
			pins[i] = p
		}
	}
	b, err := debian.FormatPins(pins)
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(*out, b, 0o644)
}
