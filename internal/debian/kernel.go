package debian

import "errors"

// Line is the family of Debian kernels that base core boots, named after the
// package without its ABI number and architecture.
const Line = "linux-image-6.1-cloud"

// A Pin names one package file by what it holds.
type Pin struct {
	Line    string `json:"line"`    // linux-image-6.1-cloud
	Arch    string `json:"arch"`    // Debian's name: amd64, arm64
	Package string `json:"package"` // linux-image-6.1.0-56-cloud-amd64
	Version string `json:"version"` // 6.1.192-2
	Size    int64  `json:"size"`    // bytes of the .deb
	SHA256  string `json:"sha256"`  // of the .deb, hex
}

// A Kernel is an opened kernel package: the image, its configuration and its
// modules. It is safe for concurrent use.
type Kernel struct {
	Pin            // what was opened
	Release string // 6.1.0-56-cloud-amd64, as uname -r says
	License string // SPDX expression: GPL-2.0-only WITH Linux-syscall-note
}

// Close closes the package; what was read from it stays.
func (k *Kernel) Close() error { return nil }

// A Module is a kernel module that can be loaded with finit_module.
type Module struct {
	Name string // as lsmod prints it, with underscores: dm_verity
	Path string // below the module folder: kernel/drivers/md/dm-verity.ko
	Data []byte // the ELF file, signature included
}

// Image returns what a loader of the architecture takes: bzImage on amd64, the
// uncompressed Image on arm64.
func (k *Kernel) Image() ([]byte, error) { return nil, errors.ErrUnsupported }

// VMLinux returns the uncompressed kernel: on amd64 the ELF file inside the
// bzImage, which QEMU starts by PVH without the decompressor's run; on arm64
// the same as Image.
func (k *Kernel) VMLinux() ([]byte, error) { return nil, errors.ErrUnsupported }

// Config returns the kernel's build configuration.
func (k *Kernel) Config() ([]byte, error) { return nil, errors.ErrUnsupported }

// Copyright returns the package's copyright file.
func (k *Kernel) Copyright() ([]byte, error) { return nil, errors.ErrUnsupported }

// Modules returns the named modules and all that they need, in the order in
// which they are to be loaded. A name may have dashes or underscores. What is
// built into the kernel is left out; an unknown name is an error.
func (k *Kernel) Modules(names ...string) ([]Module, error) { return nil, errors.ErrUnsupported }
