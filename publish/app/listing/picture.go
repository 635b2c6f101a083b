package listing

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"slices"

	"golang.org/x/image/draw"
	"golang.org/x/image/webp"

	"mios"
)

// What a picture may be, in pixels, before it is decoded: 40 million are 320 MB
// at most.
const (
	maxSide   = 8192
	maxPixels = 40_000_000
)

// shapes say what pictures of a kind must be, and how large they become.
var shapes = map[Kind]struct {
	least      int     // pixels, of the shorter side
	low, high  float64 // width by height
	width, max int     // pixels: 0 or the width that it becomes at most; the longer side
	want       string
}{
	KindIcon:       {48, 1, 1, 0, 512, "square, of at least 48 pixels, best of 512"},
	KindFeature:    {200, 1.5, 3, 1024, 1024, "about twice as wide as high, such as 1024x500"},
	KindPromo:      {120, 1.3, 1.7, 720, 720, "about 3:2, such as 180x120"},
	KindBanner:     {180, 1.6, 1.95, 1280, 1280, "about 16:9, such as 1280x720"},
	KindScreenshot: {320, 0.4, 2.5, 0, 1600, "of at least 320 pixels, and its longer side at most 2.5 times the shorter one"},
}

// formats are those that are read, by how a file begins.
var formats = []struct {
	magic  []string // at 0 and, if there is a second one, at 8
	name   string
	config func(b *bytes.Reader) (image.Config, error)
	decode func(b *bytes.Reader) (image.Image, error)
}{
	{[]string{"\x89PNG\r\n\x1a\n"}, "PNG",
		func(b *bytes.Reader) (image.Config, error) { return png.DecodeConfig(b) },
		func(b *bytes.Reader) (image.Image, error) { return png.Decode(b) }},
	{[]string{"\xff\xd8\xff"}, "JPEG",
		func(b *bytes.Reader) (image.Config, error) { return jpeg.DecodeConfig(b) },
		func(b *bytes.Reader) (image.Image, error) { return jpeg.Decode(b) }},
	{[]string{"RIFF", "WEBP"}, "WebP",
		func(b *bytes.Reader) (image.Config, error) { return webp.DecodeConfig(b) },
		func(b *bytes.Reader) (image.Image, error) { return webp.Decode(b) }},
}

func begins(b []byte, magic []string) bool {
	return bytes.HasPrefix(b, []byte(magic[0])) && (len(magic) == 1 || len(b) > 8 && bytes.HasPrefix(b[8:], []byte(magic[1])))
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), mios.ErrInvalid)
}

// Convert checks a picture in this process and makes of it what clients get:
// scaled, without metadata, as PNG, or as JPEG if it was lossy and opaque. What
// it is, its content says, not its name. The same bytes give the same bytes. It
// is a [Converter].
func Convert(ctx context.Context, in []byte, kind Kind) ([]Picture, error) {
	shape, ok := shapes[kind]
	if !ok {
		return nil, invalid("kind %q is none of a listing", kind)
	}
	img, err := decode(in)
	if err != nil {
		return nil, err
	}
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	if ratio := float64(w) / float64(h); min(w, h) < shape.least || ratio < shape.low || ratio > shape.high {
		return nil, invalid("it is of %dx%d pixels; it has to be %s", w, h, shape.want)
	}
	if kind == KindIcon {
		return icons(ctx, img)
	}
	scale := min(1, float64(shape.max)/float64(max(w, h)))
	if shape.width > 0 {
		scale = min(scale, float64(shape.width)/float64(w))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := encode(resize(img, max(1, int(float64(w)*scale+0.5)), max(1, int(float64(h)*scale+0.5))), lossy(img))
	if err != nil {
		return nil, err
	}
	return []Picture{*p}, nil
}

// decode decodes a picture whose size it has looked at before.
func decode(in []byte) (image.Image, error) {
	if len(in) > MaxPicture {
		return nil, invalid("it has %d bytes, at most %d are allowed", len(in), MaxPicture)
	}
	for _, f := range formats {
		if !begins(in, f.magic) {
			continue
		}
		c, err := f.config(bytes.NewReader(in))
		if err != nil {
			return nil, invalid("it is no %s picture that can be read: %v", f.name, err)
		}
		if c.Width < 1 || c.Height < 1 || c.Width > maxSide || c.Height > maxSide || c.Width*c.Height > maxPixels {
			return nil, invalid("it is of %dx%d pixels; at most %d in a row and %d million in all are allowed", c.Width, c.Height, maxSide, maxPixels/1_000_000)
		}
		img, err := f.decode(bytes.NewReader(in))
		if err != nil {
			return nil, invalid("it is no %s picture that can be read: %v", f.name, err)
		}
		if b := img.Bounds(); b.Dx() != c.Width || b.Dy() != c.Height {
			return nil, invalid("it says that it is of %dx%d pixels, and is of %dx%d", c.Width, c.Height, b.Dx(), b.Dy())
		}
		return img, nil
	}
	return nil, invalid("it is no PNG, JPEG or WebP picture, whatever its name says")
}

// lossy reports whether a picture came from a format that loses details, and has
// no transparency.
func lossy(img image.Image) bool {
	switch img.(type) {
	case *image.YCbCr, *image.CMYK:
		return true
	case *image.Gray: // of a PNG also: small anyway
		return false
	}
	return false
}

// resize returns the picture in that size, as pixels of its own.
func resize(img image.Image, w, h int) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	if b := img.Bounds(); b.Dx() == w && b.Dy() == h {
		draw.Draw(out, out.Bounds(), img, b.Min, draw.Src)
	} else {
		draw.CatmullRom.Scale(out, out.Bounds(), img, b, draw.Src, nil)
	}
	return out
}

// largePNG is the size in bytes from which on an opaque picture may be a JPEG,
// if that is of less than half of it.
const largePNG = 1 << 20

const jpegQuality = 85

func encode(img *image.RGBA, asJPEG bool) (*Picture, error) {
	p := &Picture{MIME: mimePNG, Width: img.Bounds().Dx(), Height: img.Bounds().Dy()}
	var packed, lost bytes.Buffer
	if !asJPEG {
		if err := png.Encode(&packed, img); err != nil {
			return nil, err
		}
		p.Data = packed.Bytes()
	}
	if asJPEG || packed.Len() > largePNG && img.Opaque() {
		if err := jpeg.Encode(&lost, img, &jpeg.Options{Quality: jpegQuality}); err != nil {
			return nil, err
		}
		if asJPEG || lost.Len() < packed.Len()/2 {
			p.MIME, p.Data = mimeJPEG, lost.Bytes()
		}
	}
	p.SHA256, p.Size = mios.Sum(p.Data), int64(len(p.Data))
	return p, nil
}

// icons makes icons of all sizes up to the picture's own.
func icons(ctx context.Context, img image.Image) ([]Picture, error) {
	var list []Picture
	for _, size := range IconSizes {
		if size > img.Bounds().Dx() {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, err := encode(resize(img, size, size), false)
		if err != nil {
			return nil, err
		}
		list = append(list, *p)
	}
	return list, nil
}

// Valid says what makes the picture none that Convert makes, or nil: one that
// comes from a process that one does not trust may be anything.
func (p *Picture) Valid() error {
	i := slices.Index([]string{mimePNG, mimeJPEG}, p.MIME)
	switch {
	case i < 0 || !begins(p.Data, formats[i].magic):
		return invalid("picture of type %q: its bytes are of none", p.MIME)
	case p.Width < 1 || p.Height < 1 || max(p.Width, p.Height) > 1600:
		return invalid("picture of %dx%d pixels", p.Width, p.Height)
	case p.SHA256 != mios.Sum(p.Data) || p.Size != int64(len(p.Data)):
		return invalid("picture %s: its bytes have another digest or size", p.SHA256)
	}
	return nil
}
