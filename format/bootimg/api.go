package bootimg

import (
	"errors"
	"io"
)

var errNew = errors.New("bootimg: only the API is here")

// Parse reads the boot image at the start of b.
func Parse(b []byte) (*Image, error) { return nil, errNew }

// Size returns the size of the image in bytes, padding included.
func (m *Image) Size() int64 { return 0 }

// WriteTo writes the image. It is the inverse of [Parse].
func (m *Image) WriteTo(w io.Writer) (int64, error) { return 0, errNew }

// ParseVendor reads the vendor_boot image at the start of b.
func ParseVendor(b []byte) (*Vendor, error) { return nil, errNew }

// Size returns the size of the image in bytes, padding included.
func (v *Vendor) Size() int64 { return 0 }

// WriteTo writes the image. It is the inverse of [ParseVendor].
func (v *Vendor) WriteTo(w io.Writer) (int64, error) { return 0, errNew }
