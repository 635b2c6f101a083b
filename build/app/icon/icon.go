// Package icon draws the icons of Android packages: bitmaps as they are, and
// what is described in XML (vectors, adaptive icons, shapes, layers …) as a PNG
// of any size, without Android.
//
// It draws what a resource says, as AOSP's android.graphics.drawable does, and
// no more: no shadow, no badge, nothing that a home screen adds. What it cannot
// draw it leaves out, and says so. It never runs anything of the package.
package icon

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"math"
	"slices"
	"strings"

	"mios"
	"mios/format/apk"
)

// MaxSize is the largest picture that is drawn, in pixels.
const MaxSize = 1024

// Options say for which device an icon is drawn. All may be left out.
type Options struct {
	Locale  string // BCP 47, such as "fr-CA"; default: the package's default
	Density int    // dpi of its screen; default: 640
	Size    int    // pixels, width and height; default: 48dp, or a bitmap as it is
	PNG     bool   // also of a bitmap that is none
	Night   bool   // in dark mode
	Shape   Shape  // of adaptive icons; default: [ShapeRounded]

	// Drawable is another resource of the package than its icon, such as a
	// banner: a reference or a color. What is no square is drawn in the middle
	// of one.
	Drawable apk.Value
}

// An Icon is a picture that programs outside Android can show.
type Icon struct {
	Data          []byte
	MIME          string   // of Data: image/png, or what a bitmap is
	Width, Height int      // pixels
	Source        string   // entry of the package that was drawn, "" for a color
	Exact         bool     // Data is that entry, byte for byte
	Missing       []string // what could not be drawn, in sentences; empty: nothing
}

// Draw draws the icon of a package. For [ShapeCircle] it is the round icon, if
// there is one. Without an icon the error wraps [mios.ErrNotFound]; options
// that make no sense and icons of which nothing can be drawn wrap
// [mios.ErrInvalid].
func Draw(ctx context.Context, f *apk.File, o Options) (*Icon, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	want, err := o.config()
	if err != nil {
		return nil, err
	}
	info, err := f.Info()
	if err != nil {
		return nil, err
	}
	src, err := newSource(f, want)
	if err != nil {
		return nil, err
	}
	v := o.Drawable
	if v.Type == apk.TypeNull {
		v = info.Application.Icon
		if r := info.Application.RoundIcon; o.Shape == ShapeCircle && r.Type != apk.TypeNull {
			v = r
		}
	}
	if v.Type == apk.TypeNull && info.Split != "" {
		return nil, fmt.Errorf("icon of %s: this is its split %s: the base package has the icon: %w", info.Package, info.Split, mios.ErrNotFound)
	}
	if v.Type == apk.TypeNull {
		return nil, fmt.Errorf("icon of %s: the manifest names none: %w", info.Package, mios.ErrNotFound)
	}
	d := o.drawing(ctx, src, src.style(info.Application.Theme))
	return d.icon(v, o.Size, o.PNG)
}

// Check says what is wrong with the options: an error that wraps
// [mios.ErrInvalid].
func (o Options) Check() error {
	if err := o.complete(); err != nil {
		return err
	}
	_, err := o.config()
	return err
}

// complete fills in the defaults.
func (o *Options) complete() error {
	if o.Density == 0 {
		o.Density = apk.DensityXXXHigh
	}
	if o.Shape == "" {
		o.Shape = ShapeRounded
	}
	switch {
	case o.Density < 60 || o.Density > 2000:
		return fmt.Errorf("a density of %d dpi: want 60 to 2000: %w", o.Density, mios.ErrInvalid)
	case o.Size < 0 || o.Size > MaxSize:
		return fmt.Errorf("a size of %d pixels: want 1 to %d: %w", o.Size, MaxSize, mios.ErrInvalid)
	case !slices.Contains(Shapes, o.Shape):
		return fmt.Errorf("shape %q: want one of %v: %w", o.Shape, Shapes, mios.ErrInvalid)
	}
	return nil
}

// The bits of a configuration's UIMode that say whether it is night.
const (
	uiNightNo  = 0x10
	uiNightYes = 0x20
)

// newestSDK is newer than any platform version that resources are made for.
const newestSDK = 10000

// config is the device that resources are chosen for.
func (o *Options) config() (apk.Config, error) {
	c := apk.Config{Density: uint16(o.Density), SDKVersion: newestSDK, UIMode: uiNightNo}
	if o.Night {
		c.UIMode = uiNightYes
	}
	if !c.SetLocale(o.Locale) {
		return c, fmt.Errorf("locale %q: want one such as fr-CA: %w", o.Locale, mios.ErrInvalid)
	}
	return c, nil
}

func (o *Options) drawing(ctx context.Context, src source, theme map[uint32]apk.Value) *drawing {
	return &drawing{
		budget: budget{ctx: ctx}, src: src, theme: theme,
		density: float64(o.Density), mask: o.Shape,
	}
}

// iconDP is how large a home screen draws an icon that says nothing of it.
const iconDP = 48

// icon turns a value into a picture of size pixels; 0: bitmaps as they are, or
// as PNG.
func (d *drawing) icon(v apk.Value, size int, asPNG bool) (*Icon, error) {
	v, density, ok := d.resolve(v)
	if !ok {
		return nil, d.nothing()
	}
	out := new(Icon)
	if v.Type == apk.TypeString {
		out.Source = v.Str
	}
	if size == 0 && v.Type == apk.TypeString && !isXML(v.Str) {
		if err := d.asItIs(out); err != nil {
			return nil, err
		}
		if !asPNG || out.MIME == "image/png" {
			return out, nil
		}
		size = min(max(out.Width, out.Height), MaxSize)
		out = &Icon{Source: out.Source}
	}
	if size == 0 {
		size = max(1, int(math.Round(iconDP*d.density/160)))
	}
	var of drawable
	if v.Type == apk.TypeString && !isXML(v.Str) {
		of = d.bitmapFile(v.Str, density)
	} else {
		of = d.drawable(v)
	}
	if of == nil {
		return nil, d.nothing()
	}
	c := newCanvas(size, &d.budget)
	if err := drawIn(c, of, float64(size)); err != nil {
		return nil, fmt.Errorf("icon %s: %w", out.Source, err)
	}
	if blank(c.img) && len(d.missing) > 0 {
		return nil, d.nothing()
	}
	var b bytes.Buffer
	if err := png.Encode(&b, c.img); err != nil {
		return nil, err
	}
	out.Data, out.MIME, out.Width, out.Height = b.Bytes(), "image/png", size, size
	out.Missing = d.missing
	return out, nil
}

// drawIn draws in the middle of a square of size pixels, as large as fits.
func drawIn(c *canvas, of drawable, size float64) error {
	w, h := of.size()
	if _, ok := of.(*adaptiveDrawable); !ok && w > 0 && h > 0 {
		w, h = iconDP*w/max(w, h), iconDP*h/max(w, h)
	}
	if w <= 0 || h <= 0 {
		w, h = iconDP, iconDP
	}
	f := size / max(w, h)
	m := translation((size-w*f)/2, (size-h*f)/2).then(scaling(f, f))
	return of.draw(c.with(m), rect{0, 0, w, h})
}

// asItIs makes out the entry that its source names.
func (d *drawing) asItIs(out *Icon) error {
	b, err := d.src.file(out.Source, maxFile)
	if err != nil {
		return fmt.Errorf("icon: %w", err)
	}
	conf, mime, err := checkBitmap(b)
	if err != nil {
		return fmt.Errorf("icon %s: %w: %w", out.Source, err, mios.ErrInvalid)
	}
	out.Data, out.MIME, out.Width, out.Height, out.Exact = b, mime, conf.Width, conf.Height, true
	if strings.HasSuffix(out.Source, ".9.png") {
		out.Missing = append(out.Missing, out.Source+": a nine-patch is given as it is, unstretched")
	}
	return nil
}

// nothing is the error for an icon of which nothing can be drawn.
func (d *drawing) nothing() error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	if len(d.missing) == 0 {
		return fmt.Errorf("icon: there is nothing to draw: %w", mios.ErrInvalid)
	}
	return fmt.Errorf("icon: nothing of it can be drawn: %s: %w", strings.Join(d.missing, "; "), mios.ErrInvalid)
}
