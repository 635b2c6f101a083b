package icon

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	_ "image/gif"  // image formats that Android's resources have
	_ "image/jpeg" // "
	_ "image/png"  // "
	"math"
	"slices"

	"golang.org/x/image/draw"
	"golang.org/x/image/math/f64"
	_ "golang.org/x/image/webp" // image formats that Android's resources have

	"mios/format/apk"
)

// A bitmapDrawable is an image.
type bitmapDrawable struct {
	img      image.Image
	w, h     float64 // dp
	gravity  int
	tint     *tint
	alpha    float64
	ninePart *ninePatch // nil: stretched evenly
}

// mimeTypes are those of package image's names for formats.
var mimeTypes = map[string]string{"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}

// checkBitmap returns the size and MIME type of an image, without decoding it.
// It refuses those that would take too much memory.
func checkBitmap(b []byte) (image.Config, string, error) {
	conf, format, err := image.DecodeConfig(bytes.NewReader(b))
	switch {
	case errors.Is(err, image.ErrFormat):
		return conf, "", errors.New("neither PNG, JPEG, WebP nor GIF")
	case err != nil:
		return conf, "", err
	case conf.Width <= 0 || conf.Height <= 0 || conf.Width > maxPixels/conf.Height:
		return conf, "", fmt.Errorf("%d x %d pixels: more than %d are not drawn", conf.Width, conf.Height, maxPixels)
	}
	return conf, mimeTypes[format], nil
}

// bitmapFile reads an image of the package; density is what its pixels are for.
func (d *drawing) bitmapFile(name string, density uint16) drawable {
	was := d.file
	d.file = name
	defer func() { d.file = was }()
	b, err := d.src.file(name, maxFile)
	if err != nil {
		d.miss("%v", err)
		return nil
	}
	conf, _, err := checkBitmap(b)
	if err != nil {
		d.miss("%v", err)
		return nil
	}
	if err := d.spend(8 * conf.Width * conf.Height); err != nil {
		d.miss("%v", err)
		return nil
	}
	img, _, err := image.Decode(bytes.NewReader(b))
	if err != nil {
		d.miss("%v", err)
		return nil
	}
	dpi := d.density // of a resource for no density in particular, pixels are not scaled
	switch density {
	case apk.DensityAny, apk.DensityNone:
	case 0:
		dpi = apk.DensityMedium
	default:
		dpi = float64(density)
	}
	out := &bitmapDrawable{img: img, gravity: gravityFillH | gravityFillV, alpha: 1}
	out.w, out.h = float64(conf.Width)*160/dpi, float64(conf.Height)*160/dpi
	out.ninePart = parseNinePatch(b, img.Bounds(), 160/dpi)
	return out
}

// bitmap reads an element that draws an image in a way of its own.
func (d *drawing) bitmap(e *apk.Element) drawable {
	a := attrs{d, e}
	at := e.Res(attrSrc)
	if at == nil {
		d.miss("<%s> without src", e.Name)
		return nil
	}
	of := d.drawable(at.Value)
	out, ok := of.(*bitmapDrawable)
	if !ok {
		if of != nil {
			d.miss("<%s> of something that is no image", e.Name)
		}
		return nil
	}
	for _, id := range []uint32{attrTileMode, attrTileModeX, attrTileModeY} {
		if a.int(id, -1) >= 0 {
			d.miss("<%s>: tiles are not drawn", e.Name)
			return nil
		}
	}
	out.gravity = a.int(attrGravity, out.gravity)
	out.alpha = a.float(attrAlpha, 1)
	if out.tint = a.tint(); a.has(attrTint) && out.tint == nil {
		return nil
	}
	return out
}

func (d *bitmapDrawable) size() (w, h float64) { return d.w, d.h }

func (d *bitmapDrawable) padding() sides {
	if d.ninePart != nil {
		return d.ninePart.pad
	}
	return sides{}
}

func (d *bitmapDrawable) draw(c *canvas, in rect) error {
	to := gravityRect(d.gravity, d.w, d.h, in)
	return c.layer(d.alpha, d.tint, func(c *canvas) error {
		if d.ninePart != nil {
			return d.ninePart.draw(c, d.img, to)
		}
		return c.image(d.img, d.img.Bounds(), to)
	})
}

// image draws the part of src in the rectangle from into the rectangle to.
func (c *canvas) image(src image.Image, from image.Rectangle, to rect) error {
	all := c.img.Bounds()
	if err := c.left.spend(32*all.Dx()*all.Dy() + 8*from.Dx()*from.Dy()); err != nil {
		return err
	}
	if from.Empty() || to.empty() {
		return nil
	}
	m := c.m.then(translation(to.left, to.top)).
		then(scaling(to.width()/float64(from.Dx()), to.height()/float64(from.Dy()))).
		then(translation(-float64(from.Min.X), -float64(from.Min.Y)))
	if _, ok := m.inverse(); !ok || !finite(m) || m.scale() < 1.0/maxPixels {
		return nil
	}
	var o *draw.Options
	if c.clip != nil {
		o = &draw.Options{DstMask: c.clip}
	}
	draw.BiLinear.Transform(c.img, f64.Aff3{m.a, m.c, m.e, m.b, m.d, m.f}, src, from, draw.Over, o)
	return nil
}

func finite(m matrix) bool {
	for _, v := range [6]float64{m.a, m.b, m.c, m.d, m.e, m.f} {
		if math.IsNaN(v) || math.Abs(v) > 1e6 {
			return false
		}
	}
	return true
}

// A ninePatch is an image of which only some parts are stretched: AOSP's
// Res_png_9patch (androidfw/ResourceTypes.h), in the PNG chunk npTc.
type ninePatch struct {
	pad  sides   // dp
	x, y []int   // where a part that is stretched begins and ends, by turns
	dp   float64 // of a pixel
}

// parseNinePatch returns the nine-patch of a compiled PNG, or nil if there is
// none in it.
func parseNinePatch(png []byte, size image.Rectangle, dp float64) *ninePatch {
	b := pngChunk(png, "npTc")
	const header = 32
	if len(b) < header {
		return nil
	}
	nx, ny := int(b[1]), int(b[2])
	if nx%2 != 0 || ny%2 != 0 || len(b) < header+4*(nx+ny) {
		return nil
	}
	read := func(off int) int { return int(int32(binary.BigEndian.Uint32(b[off:]))) }
	p := &ninePatch{dp: dp}
	p.pad = sides{float64(read(12)) * dp, float64(read(20)) * dp, float64(read(16)) * dp, float64(read(24)) * dp}
	for i := range nx {
		p.x = append(p.x, read(header+4*i))
	}
	for i := range ny {
		p.y = append(p.y, read(header+4*(nx+i)))
	}
	ok := func(v []int, end int) bool {
		return slices.IsSorted(v) && (len(v) == 0 || v[0] >= 0 && v[len(v)-1] <= end)
	}
	if !ok(p.x, size.Dx()) || !ok(p.y, size.Dy()) {
		return nil
	}
	return p
}

// pngChunk returns the data of the first chunk of a kind, or nil.
func pngChunk(png []byte, kind string) []byte {
	const signature = 8
	for off := signature; off+8 <= len(png); {
		n := int64(binary.BigEndian.Uint32(png[off:]))
		if n > int64(len(png)-off-8) {
			return nil
		}
		if string(png[off+4:off+8]) == kind {
			return png[off+8 : off+8+int(n)]
		}
		off += 12 + int(n)
	}
	return nil
}

// A span is a part of an image's side, and of the side that it is drawn on.
type span struct {
	from, to  int
	low, high float64
}

// spans divides a side of n pixels that is drawn from low to high.
func (p *ninePatch) spans(div []int, n int, low, high float64) []span {
	fixed, stretched := n, 0
	for i := 0; i+1 < len(div); i += 2 {
		stretched += div[i+1] - div[i]
	}
	fixed -= stretched
	unit, grow := p.dp, 0.0
	if rest := high - low - float64(fixed)*p.dp; stretched > 0 && rest > 0 {
		grow = rest / float64(stretched)
	} else if fixed > 0 {
		unit = (high - low) / float64(fixed)
	}
	var out []span
	at := low
	add := func(from, to int, each float64) {
		if from < to {
			out = append(out, span{from, to, at, at + float64(to-from)*each})
			at = out[len(out)-1].high
		}
	}
	last := 0
	for i := 0; i+1 < len(div); i += 2 {
		add(last, div[i], unit)
		add(div[i], div[i+1], grow)
		last = div[i+1]
	}
	add(last, n, unit)
	return out
}

func (p *ninePatch) draw(c *canvas, img image.Image, in rect) error {
	b := img.Bounds()
	for _, v := range p.spans(p.y, b.Dy(), in.top, in.bottom) {
		for _, h := range p.spans(p.x, b.Dx(), in.left, in.right) {
			from := image.Rect(h.from, v.from, h.to, v.to).Add(b.Min)
			if err := c.image(img, from, rect{h.low, v.low, h.high, v.high}); err != nil {
				return err
			}
		}
	}
	return nil
}

// blank reports whether nothing can be seen of img.
func blank(img *image.RGBA) bool {
	for i := 3; i < len(img.Pix); i += 4 {
		if img.Pix[i] != 0 {
			return false
		}
	}
	return true
}
