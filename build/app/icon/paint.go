package icon

import (
	"image"
	"image/color"
	"math"
)

// A paint is what covers an area: one color, or a gradient.
type paint interface {
	// image returns the paint in pixels, when drawn with the matrix m; nil if
	// nothing of it can be seen.
	image(m matrix) image.Image
	// faded returns the paint with its alpha multiplied.
	faded(alpha float64) paint
}

// A solid is a color, 0xAARRGGBB, not premultiplied.
type solid uint32

func (s solid) alpha() float64 { return float64(s>>24) / 255 }

func (s solid) nrgba() color.NRGBA {
	return color.NRGBA{uint8(s >> 16), uint8(s >> 8), uint8(s), uint8(s >> 24)}
}

func (s solid) image(matrix) image.Image {
	if s>>24 == 0 {
		return nil
	}
	return image.NewUniform(s.nrgba())
}

func (s solid) faded(alpha float64) paint { return s.withAlpha(alpha) }

func (s solid) withAlpha(f float64) solid {
	return s&0xffffff | solid(math.Round(clamp(s.alpha()*f, 0, 1)*255))<<24
}

// The kinds and tile modes of gradients, with Android's numbers.
const (
	gradientLinear = iota
	gradientRadial
	gradientSweep
)

const (
	tileClamp = iota
	tileRepeat
	tileMirror
)

// A stop is a color of a gradient, and where it is between 0 and 1.
type stop struct {
	at    float64
	color solid
}

// A gradient goes through stops: along from-to, from the middle outwards or
// around it clockwise. As Android has it, it mixes premultiplied colors.
type gradient struct {
	kind, tile int
	from, to   point // linear
	center     point // radial, sweep
	radius     float64
	stops      []stop // in order, two or more
	fade       float64
	space      *matrix // from the gradient's coordinates, if not the drawing's
}

func (g *gradient) faded(alpha float64) paint {
	out := *g
	out.fade *= alpha
	return &out
}

func (g *gradient) image(m matrix) image.Image {
	if g.space != nil {
		m = *g.space
	}
	inv, ok := m.inverse()
	if !ok || g.fade == 0 || len(g.stops) == 0 {
		return nil
	}
	return &gradientImage{g, inv}
}

// A gradientImage is a gradient in pixels.
type gradientImage struct {
	g   *gradient
	inv matrix
}

func (*gradientImage) ColorModel() color.Model   { return color.RGBA64Model }
func (*gradientImage) Bounds() image.Rectangle   { return image.Rect(-1e9, -1e9, 1e9, 1e9) }
func (i *gradientImage) At(x, y int) color.Color { return i.RGBA64At(x, y) }
func (i *gradientImage) RGBA64At(x, y int) color.RGBA64 {
	p := i.inv.apply(point{float64(x) + 0.5, float64(y) + 0.5})
	return i.g.at(i.g.position(p))
}

// position is where between the first and the last stop p is.
func (g *gradient) position(p point) float64 {
	t := 0.0
	switch g.kind {
	case gradientRadial:
		t = p.sub(g.center).len() / g.radius
	case gradientSweep:
		d := p.sub(g.center)
		if t = math.Atan2(d.y, d.x) / (2 * math.Pi); t < 0 {
			t++
		}
	default:
		d := g.to.sub(g.from)
		if l := d.dot(d); l > 0 {
			t = p.sub(g.from).dot(d) / l
		}
	}
	switch {
	case math.IsNaN(t):
		return 0
	case g.tile == tileRepeat:
		return t - math.Floor(t)
	case g.tile == tileMirror:
		t = math.Abs(t - 2*math.Floor(t/2+0.5))
	}
	return clamp(t, 0, 1)
}

// at is the color at position t.
func (g *gradient) at(t float64) color.RGBA64 {
	last := len(g.stops) - 1
	switch {
	case t <= g.stops[0].at:
		return premultiplied(g.stops[0].color, g.stops[0].color, 0, g.fade)
	case t >= g.stops[last].at:
		return premultiplied(g.stops[last].color, g.stops[last].color, 0, g.fade)
	}
	i := 1
	for g.stops[i].at < t {
		i++
	}
	a, b := g.stops[i-1], g.stops[i]
	return premultiplied(a.color, b.color, (t-a.at)/(b.at-a.at), g.fade)
}

// premultiplied mixes two colors.
func premultiplied(a, b solid, t, fade float64) color.RGBA64 {
	aa, ba := a.alpha()*(1-t)*fade, b.alpha()*t*fade
	mix := func(shift uint) uint16 {
		v := float64(a>>shift&0xff)/255*aa + float64(b>>shift&0xff)/255*ba
		return uint16(math.Round(clamp(v, 0, 1) * 0xffff))
	}
	return color.RGBA64{mix(16), mix(8), mix(0), uint16(math.Round(clamp(aa+ba, 0, 1) * 0xffff))}
}

// A tint colors a drawing after it is drawn, by a mode of PorterDuff's.
type tint struct {
	color solid
	mode  int
}

// The modes of a tint, with Android's numbers.
const (
	modeSrcOver  = 3
	modeSrcIn    = 5
	modeSrcAtop  = 9
	modeMultiply = 14
	modeScreen   = 15
	modeAdd      = 16
)

// apply tints all pixels of img. Colors are premultiplied, 0 to 1.
func (t tint) apply(img *image.RGBA) {
	sa := t.color.alpha()
	src := [4]float64{float64(t.color>>16&0xff) / 255 * sa, float64(t.color>>8&0xff) / 255 * sa, float64(t.color&0xff) / 255 * sa, sa}
	for i := 0; i+3 < len(img.Pix); i += 4 {
		px := img.Pix[i : i+4 : i+4]
		da := float64(px[3]) / 255
		for k, s := range src {
			px[k] = uint8(math.Round(clamp(blend(t.mode, s, sa, float64(px[k])/255, da), 0, 1) * 255))
		}
	}
}

// blend is one channel of a mode: source and destination with their alphas.
func blend(mode int, s, sa, d, da float64) float64 {
	switch mode {
	case modeSrcOver:
		return s + d*(1-sa)
	case modeSrcAtop:
		return s*da + d*(1-sa)
	case modeMultiply:
		return s * d
	case modeScreen:
		return s + d - s*d
	case modeAdd:
		return s + d
	}
	return s * da
}
