package inspect

import (
	"errors"

	"mios/format/apex"
	"mios/format/apk"
	"mios/format/apksig"
	"mios/format/avb"
	"mios/format/bootimg"
	"mios/format/chunks"
	"mios/format/cpio"
	"mios/format/dex"
	"mios/format/dtbo"
	"mios/format/fdt"
	"mios/format/fsimage"
	"mios/format/gpt"
	"mios/format/otazip"
	"mios/format/payload"
	"mios/format/sparse"
	"mios/format/super"
	"mios/format/targetfiles"
	"mios/format/tuf"
)

// offsetOf returns the offset in the error of a format.
func offsetOf(err error) (off int64, ok bool) {
	for _, try := range []func(error) (int64, bool){
		as(func(e *apk.FormatError) int64 { return e.Off }),
		as(func(e *apksig.FormatError) int64 { return e.Off }),
		as(func(e *apex.FormatError) int64 { return e.Off }),
		as(func(e *avb.FormatError) int64 { return e.Off }),
		as(func(e *bootimg.FormatError) int64 { return e.Off }),
		as(func(e *chunks.FormatError) int64 { return e.Off }),
		as(func(e *cpio.FormatError) int64 { return e.Off }),
		as(func(e *dex.FormatError) int64 { return e.Off }),
		as(func(e *dtbo.FormatError) int64 { return e.Off }),
		as(func(e *fdt.FormatError) int64 { return e.Off }),
		as(func(e *fsimage.FormatError) int64 { return e.Off }),
		as(func(e *gpt.FormatError) int64 { return e.Off }),
		as(func(e *otazip.FormatError) int64 { return e.Off }),
		as(func(e *payload.FormatError) int64 { return e.Off }),
		as(func(e *sparse.FormatError) int64 { return e.Off }),
		as(func(e *super.FormatError) int64 { return e.Off }),
		as(func(e *targetfiles.FormatError) int64 { return e.Off }),
		as(func(e *tuf.FormatError) int64 { return e.Off }),
	} {
		if off, ok := try(err); ok {
			return off, true
		}
	}
	return 0, false
}

// as returns a function that finds an error of a type and its offset.
func as[E error](off func(E) int64) func(error) (int64, bool) {
	return func(err error) (int64, bool) {
		var e E
		if !errors.As(err, &e) {
			return 0, false
		}
		return off(e), true
	}
}
