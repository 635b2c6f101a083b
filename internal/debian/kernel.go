package debian

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"

	"mios/internal/bzimage"
)

// maxImage bounds an uncompressed kernel.
const maxImage = 512 << 20

// A Kernel is an opened kernel package: the image, its configuration and its
// modules. It is safe for concurrent use.
type Kernel struct {
	Pin            // what was opened
	Release string // 6.1.0-56-cloud-amd64, as uname -r says
	License string // SPDX expression

	files   *tarIndex
	root    string                     // of the modules: lib/modules/RELEASE/
	paths   map[string]string          // module's name to its path in the tar
	builtin map[string]bool            // names and aliases of what is in the image
	aliases func() (aliasTable, error) // read on first use
}

// open opens the package file at deb, whose data is unpacked to tarPath.
func open(pin Pin, deb, tarPath string) (*Kernel, error) {
	f, err := os.Open(deb)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	members, err := arMembers(f, fi.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", deb, err)
	}
	fields, err := control(members)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", deb, err)
	}
	if fields["Package"] != pin.Package || fields["Version"] != pin.Version || fields["Architecture"] != pin.Arch {
		return nil, fmt.Errorf("%s: holds %s %s for %s, want %s %s for %s", deb,
			fields["Package"], fields["Version"], fields["Architecture"], pin.Package, pin.Version, pin.Arch)
	}
	if err := unpackTar(members, tarPath); err != nil {
		return nil, fmt.Errorf("%s: %w", deb, err)
	}
	files, err := indexTar(tarPath)
	if err != nil {
		return nil, err
	}
	k := &Kernel{
		Pin:     pin,
		Release: strings.TrimPrefix(pin.Package, "linux-image-"),
		License: "GPL-2.0-only WITH Linux-syscall-note",
		files:   files,
	}
	if err := k.listModules(); err != nil {
		files.f.Close()
		return nil, fmt.Errorf("%s: %w", deb, err)
	}
	k.aliases = sync.OnceValues(k.readAliases)
	return k, nil
}

// Close closes the package; what was read from it stays.
func (k *Kernel) Close() error { return k.files.f.Close() }

// Image returns what a loader of the architecture takes: bzImage on amd64, the
// uncompressed Image on arm64.
func (k *Kernel) Image() ([]byte, error) {
	b, err := k.files.read("boot/vmlinuz-" + k.Release)
	if err != nil {
		return nil, err
	}
	if k.Arch != "arm64" || !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.Release, err)
	}
	b, err = io.ReadAll(io.LimitReader(zr, maxImage))
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.Release, err)
	}
	return b, nil
}

// VMLinux returns the uncompressed kernel: on amd64 the ELF file inside the
// bzImage, which QEMU starts by PVH without the decompressor's run; on arm64
// the same as Image.
func (k *Kernel) VMLinux() ([]byte, error) {
	b, err := k.Image()
	if err != nil || k.Arch != "amd64" {
		return b, err
	}
	if b, err = bzimage.VMLinux(b); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.Release, err)
	}
	return b, nil
}

// Config returns the kernel's build configuration.
func (k *Kernel) Config() ([]byte, error) { return k.files.read("boot/config-" + k.Release) }

// Copyright returns the package's copyright file.
func (k *Kernel) Copyright() ([]byte, error) {
	return k.files.read(path.Join("usr/share/doc", k.Package, "copyright"))
}
