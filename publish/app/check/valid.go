package check

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"mios"
)

// maxIcon is how large a drawn icon may be, in bytes: one that does not compress
// at all.
const maxIcon = 4*IconSize*IconSize + 64<<10

// Valid says what makes facts of n files none, or nil: facts that come from a
// process that one does not trust may be anything.
func (f *Facts) Valid(n int) error {
	err := f.valid(n)
	if err != nil {
		return fmt.Errorf("facts: %v: %w", err, mios.ErrInvalid)
	}
	return nil
}

func (f *Facts) valid(n int) error {
	switch {
	case f.App == nil || f.App.Package == "" || f.App.Signature == nil:
		return errors.New("no app in them")
	case len(f.Files) != n || len(f.Splits) != n-1:
		return fmt.Errorf("%d files and %d splits of %d files", len(f.Files), len(f.Splits), n)
	case f.Google == nil && f.Code == "":
		return errors.New("no report on Google's services")
	case len(f.Signers) > 0 != f.App.Signature.Verified:
		return fmt.Errorf("%d signers of a signature that is verified: %v", len(f.Signers), f.App.Signature.Verified)
	case len(f.Icon) > maxIcon:
		return fmt.Errorf("an icon of %d bytes", len(f.Icon))
	}
	for i, file := range f.Files {
		if file.Signature == nil || file.Size < 0 || i > 0 == (file.Split == "") {
			return fmt.Errorf("file %d has no signature, size or name", i)
		}
	}
	for _, s := range f.Splits {
		if s == nil {
			return errors.New("a split that is none")
		}
	}
	if len(f.Icon) > 0 && !isIcon(f.Icon) {
		return errors.New("an icon that is no PNG of its size")
	}
	return nil
}

// isIcon reports whether b begins as a PNG of IconSize does (W3C PNG, 11.2.1).
func isIcon(b []byte) bool {
	return len(b) > 33 && bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")) &&
		binary.BigEndian.Uint32(b[16:]) == IconSize && binary.BigEndian.Uint32(b[20:]) == IconSize
}
