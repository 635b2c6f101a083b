package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"mios/format/bootimg"
	"mios/internal/atomicfile"
)

// bootCommands are what mkbootimg and its company do, with their flags' names.
var bootCommands = []command{bootInfo, bootMake, bootUnpack, bootRepack, bootCertify, dtboInfo, dtboMake, dtboUnpack}

// maxBootImage is the largest boot image, and part of one, that is read, in
// bytes: they are held in memory.
const maxBootImage = 1 << 30

// A bootImage is a boot or a vendor_boot image; one of the two is nil.
type bootImage struct {
	boot   *bootimg.Image
	vendor *bootimg.Vendor
	after  int // bytes that follow it in its file
}

// readBootImage reads an image of either kind.
func readBootImage(name string) (*bootImage, error) {
	b, err := readPart(name)
	if err != nil {
		return nil, err
	}
	m := new(bootImage)
	if bytes.HasPrefix(b, []byte("VNDRBOOT")) {
		m.vendor, err = bootimg.ParseVendor(b)
	} else {
		m.boot, err = bootimg.Parse(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	m.after = len(b) - int(m.size())
	return m, nil
}

// readPart reads a file that becomes part of an image, or is one.
func readPart(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Mode().IsRegular() && fi.Size() <= maxBootImage {
		b := make([]byte, fi.Size())
		_, err := io.ReadFull(f, b)
		return b, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxBootImage+1))
	if err == nil && len(b) > maxBootImage {
		err = fmt.Errorf("%s: over %d bytes: not a boot image, nor a part of one", name, maxBootImage)
	}
	return b, err
}

func (m *bootImage) size() int64 {
	if m.vendor != nil {
		return m.vendor.Size()
	}
	return m.boot.Size()
}

func (m *bootImage) parts() []bootimg.Part {
	if m.vendor != nil {
		return m.vendor.Parts()
	}
	return m.boot.Parts()
}

// text is what unpack_bootimg prints, args what makes the image again.
func (m *bootImage) text() string {
	if m.vendor != nil {
		return m.vendor.Text()
	}
	return m.boot.Text()
}

func (m *bootImage) args(dir string) []string {
	if m.vendor != nil {
		return m.vendor.Args(dir)
	}
	return m.boot.Args(dir)
}

// WriteTo writes the image, without what follows it.
func (m *bootImage) WriteTo(w io.Writer) (int64, error) {
	if m.vendor != nil {
		return m.vendor.WriteTo(w)
	}
	return m.boot.WriteTo(w)
}

// writeBootImage writes an image to a file, whole or not at all.
func writeBootImage(name string, m io.WriterTo) error {
	return atomicfile.Fill(name, 0o644, func(f *os.File) error {
		_, err := m.WriteTo(f)
		return err
	})
}

// bootFormat is how a command tells of an image.
type bootFormat struct {
	format       *string
	null, asJSON *bool
}

func bootFormatFlags(fs interface {
	String(name, value, usage string) *string
	Bool(name string, value bool, usage string) *bool
}) *bootFormat {
	o := &bootFormat{}
	o.format = fs.String("format", "page", "`how` to tell of the image: page, info as unpack_bootimg, or mkbootimg: the arguments that make it again")
	o.null = fs.Bool("0", false, "end each of these arguments with a zero byte, and do not quote them")
	fs.Bool("null", false, "the same as -0")
	o.asJSON = fs.Bool("json", false, jsonHelp)
	return o
}

// print tells of an image whose parts are in dir, "" if they are not unpacked.
func (o *bootFormat) print(e env, name, dir string, m *bootImage) error {
	switch {
	case *o.asJSON:
		return printJSON(e, describeBoot(name, m))
	case *o.format == "info":
		_, err := io.WriteString(e.stdout, m.text())
		return err
	case *o.format == "mkbootimg" && *o.null:
		_, err := io.WriteString(e.stdout, strings.Join(m.args(dir), "\x00")+"\x00")
		return err
	case *o.format == "mkbootimg":
		_, err := fmt.Fprintln(e.stdout, joinWords(m.args(dir)))
		return err
	}
	printBoot(newPage(e.stdout), name, describeBoot(name, m))
	return nil
}

func (o *bootFormat) check() error {
	switch *o.format {
	case "page", "info", "mkbootimg":
		return nil
	}
	return fmt.Errorf("%w: --format %s: want page, info or mkbootimg", errUsage, *o.format)
}

var bootInfo = command{"boot info", "[flags] FILE", "tell what a boot, init_boot or vendor_boot image holds",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		o := bootFormatFlags(fs)
		dir := fs.String("out", "out", "`folder` in the arguments of --format mkbootimg")
		if err := parse(fs, args, 1, 1); err != nil {
			return err
		}
		if err := o.check(); err != nil {
			return err
		}
		m, err := readBootImage(fs.Arg(0))
		if err != nil {
			return err
		}
		return o.print(e, fs.Arg(0), *dir, m)
	}}

var bootUnpack = command{"boot unpack", "[flags] FILE", "take a boot, init_boot or vendor_boot image apart, as unpack_bootimg does\n" +
	"With --format mkbootimg it prints the arguments of mios boot make, or mkbootimg,\n" +
	"that make the image again.",
	func(ctx context.Context, e env, args []string) error {
		fs := flags(e)
		o := bootFormatFlags(fs)
		dir := fs.String("out", "out", "`folder` to write the parts to; it is made if it is not there")
		image := fs.String("boot_img", "", "the image `file`, in the place of the word FILE")
		if err := parse(fs, args, 0, 1); err != nil {
			return err
		}
		if err := o.check(); err != nil {
			return err
		}
		if (*image == "") == (fs.NArg() == 0) {
			return fmt.Errorf("%w: name one image", errUsage)
		}
		if *image == "" {
			*image = fs.Arg(0)
		}
		m, err := readBootImage(*image)
		if err != nil {
			return err
		}
		if err := unpackBoot(m, *dir); err != nil {
			return err
		}
		return o.print(e, *image, *dir, m)
	}}

// unpackBoot writes an image's parts into a folder; a fragment of a vendor
// ramdisk also gets a link with its name.
func unpackBoot(m *bootImage, dir string) error {
	if m.vendor != nil {
		for i, f := range m.vendor.Fragments {
			if strings.ContainsAny(f.Name, "/\x00") || printable(f.Name) != f.Name {
				return fmt.Errorf("ramdisk fragment %d is named %q: no name for a file", i, f.Name)
			}
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range m.parts() {
		if err := atomicfile.WriteBytes(filepath.Join(dir, p.Name), p.Data, 0o644); err != nil {
			return err
		}
	}
	if m.vendor == nil || m.vendor.Version < 4 {
		return nil
	}
	names := filepath.Join(dir, "vendor-ramdisk-by-name")
	if err := os.MkdirAll(names, 0o755); err != nil {
		return err
	}
	for i, f := range m.vendor.Fragments {
		link := filepath.Join(names, "ramdisk_"+f.Name)
		if fi, err := os.Lstat(link); err == nil && fi.Mode()&os.ModeSymlink != 0 {
			if err := os.Remove(link); err != nil {
				return err
			}
		}
		if err := os.Symlink(filepath.Join("..", m.parts()[i].Name), link); err != nil {
			return err
		}
	}
	return nil
}
