package icon

import (
	"cmp"
	"context"
	"errors"
	"image"
	"image/draw"
	"math"
	"slices"

	"golang.org/x/image/vector"
)

// errTooMuch ends drawings that would take too long.
var errTooMuch = errors.New("the drawing is too large: it paints more than an icon can need")

// A budget bounds what one drawing may take, whatever its resources say.
type budget struct {
	ctx       context.Context
	work      int64 // steps of some nanoseconds
	drawables int   // elements that are turned into drawables
}

const (
	maxWork      = 1 << 30
	maxDrawables = 4096
)

func (b *budget) spend(n int) error {
	if b.work += int64(n); b.work > maxWork {
		return errTooMuch
	}
	return b.ctx.Err()
}

// flatness is how far lines may be from the curves they stand for, in pixels.
const flatness = 0.04

// A canvas is where drawables draw. It is copied to change matrix or clip for
// what is drawn next.
type canvas struct {
	img  *image.RGBA
	m    matrix       // to pixels
	clip *image.Alpha // what may be painted; nil: all
	left *budget
}

func newCanvas(size int, left *budget) *canvas {
	return &canvas{img: image.NewRGBA(image.Rect(0, 0, size, size)), m: scaling(1, 1), left: left}
}

// with returns the canvas for coordinates that m maps to those of c.
func (c *canvas) with(m matrix) *canvas {
	out := *c
	out.m = c.m.then(m)
	return &out
}

// clipped returns the canvas on which only the inside of p is painted.
func (c *canvas) clipped(p *path) (*canvas, error) {
	r := c.img.Bounds()
	if err := c.left.spend(2 * r.Dx() * r.Dy()); err != nil {
		return nil, err
	}
	out := *c
	out.clip = image.NewAlpha(r)
	mask, at, err := c.coverage(p.flat(c.m, flatness), nonZero)
	if err != nil || mask == nil {
		return &out, err
	}
	mask.DrawOp = draw.Src
	mask.Draw(out.clip, at, image.Opaque, image.Point{})
	if c.clip != nil {
		multiply(out.clip, c.clip)
	}
	return &out, nil
}

// clippedTo is clipped for a rectangle, unless it is all of the canvas.
func (c *canvas) clippedTo(r rect) (*canvas, error) {
	all := c.img.Bounds()
	p, q := c.m.apply(point{r.left, r.top}), c.m.apply(point{r.right, r.bottom})
	near := func(x float64, n int) bool { return math.Abs(x-float64(n)) < 1e-6 }
	if near(p.x, all.Min.X) && near(p.y, all.Min.Y) && near(q.x, all.Max.X) && near(q.y, all.Max.Y) {
		return c, nil
	}
	return c.clipped(roundRect(r, corners{}))
}

// multiply makes a what both a and b let through.
func multiply(a, b *image.Alpha) {
	for i, v := range b.Pix {
		a.Pix[i] = uint8((uint32(a.Pix[i])*uint32(v) + 127) / 255)
	}
}

// fill paints the inside of p.
func (c *canvas) fill(p *path, r rule, with paint) error {
	return c.fillFlat(p.flat(c.m, flatness), r, with)
}

// stroke paints what the pen covers along p, or along what trim leaves of it.
func (c *canvas) stroke(p *path, with pen, trim func([]contour) []contour, color paint) error {
	scale := c.m.scale()
	if !(scale > 0) || math.IsInf(scale, 0) {
		return nil
	}
	if with.width == 0 {
		with.width = 1 / scale
	}
	with.resolution = flatness / scale
	cs := p.flat(scaling(1, 1), with.resolution)
	if trim != nil {
		cs = trim(cs)
	}
	return c.fillFlat(mapped(with.stroke(cs), c.m), overlapping, color)
}

// A rule says what is inside contours.
type rule int

const (
	nonZero rule = iota
	evenOdd
	overlapping // nonZero, where many contours lie over each other
)

// fillFlat paints the inside of contours in pixels.
func (c *canvas) fillFlat(cs []contour, r rule, with paint) error {
	cover, at, err := c.coverage(cs, r)
	if err != nil || cover == nil {
		return err
	}
	src := with.image(c.m)
	if src == nil {
		return nil
	}
	if c.clip == nil {
		cover.Draw(c.img, at, src, at.Min)
		return nil
	}
	mask := image.NewAlpha(at)
	cover.DrawOp = draw.Src
	cover.Draw(mask, at, image.Opaque, image.Point{})
	part := image.NewAlpha(at)
	draw.Draw(part, at, c.clip, at.Min, draw.Src)
	multiply(mask, part)
	draw.DrawMask(c.img, at, src, at.Min, mask, at.Min, draw.Over)
	return nil
}

// coverage returns what covers the inside of contours in pixels, and the pixels
// that it is for; nil if there are none.
func (c *canvas) coverage(cs []contour, r rule) (*vector.Rasterizer, image.Rectangle, error) {
	b := bounds(cs)
	all := c.img.Bounds()
	area := rect{float64(all.Min.X), float64(all.Min.Y), float64(all.Max.X), float64(all.Max.Y)}
	b = rect{max(b.left, area.left), max(b.top, area.top), min(b.right, area.right), min(b.bottom, area.bottom)}
	if b.empty() { // or no number
		return nil, image.Rectangle{}, c.left.spend(1)
	}
	at := image.Rect(int(b.left), int(b.top), int(math.Ceil(b.right)), int(math.Ceil(b.bottom)))
	points := 0
	for _, s := range cs {
		points += len(s.pts)
	}
	if err := c.left.spend(4*at.Dx()*at.Dy() + 8*points); err != nil {
		return nil, at, err
	}
	z := lines{vector.NewRasterizer(at.Dx(), at.Dy()), point{float64(at.Min.X), float64(at.Min.Y)}, float64(at.Dx()), float64(at.Dy())}
	switch r {
	case evenOdd:
		return z.z, at, z.spans(cs, func(n int) bool { return n&1 != 0 }, c.left)
	case overlapping:
		return z.z, at, z.spans(cs, func(n int) bool { return n != 0 }, c.left)
	}
	for _, s := range cs {
		for i, p := range s.pts {
			z.line(p, s.pts[(i+1)%len(s.pts)])
		}
	}
	return z.z, at, nil
}

// lines feeds a rasterizer with lines of any length: it adds up the area to the
// right of each line, so that a line left or right of the picture may stand at
// its border, and one above or below does not matter.
type lines struct {
	z    *vector.Rasterizer
	org  point
	w, h float64
}

func (z lines) line(p, q point) {
	p, q = p.sub(z.org), q.sub(z.org)
	if math.IsNaN(p.x+p.y+q.x+q.y) || math.IsInf(p.x, 0) || math.IsInf(p.y, 0) || math.IsInf(q.x, 0) || math.IsInf(q.y, 0) {
		return
	}
	p, q, ok := cutY(p, q, z.h)
	if !ok {
		return
	}
	ts := []float64{0, 1}
	for _, x := range [2]float64{0, z.w} {
		if (p.x < x) != (q.x < x) {
			ts = append(ts, clamp((x-p.x)/(q.x-p.x), 0, 1))
		}
	}
	slices.Sort(ts)
	for i := range len(ts) - 1 {
		z.inside(lerp(p, q, ts[i]), lerp(p, q, ts[i+1]))
	}
}

// inside adds a line that crosses neither the left nor the right border.
func (z lines) inside(p, q point) {
	z.z.MoveTo(float32(clamp(p.x, 0, z.w)), float32(clamp(p.y, 0, z.h)))
	z.z.LineTo(float32(clamp(q.x, 0, z.w)), float32(clamp(q.y, 0, z.h)))
}

// cutY returns the part of a line with y in 0 to h.
func cutY(p, q point, h float64) (point, point, bool) {
	if p.y == q.y || max(p.y, q.y) <= 0 || min(p.y, q.y) >= h {
		return p, q, false
	}
	at := func(y float64) point { return point{lerp(p, q, (y-p.y)/(q.y-p.y)).x, y} }
	cut := func(r point) point {
		switch {
		case r.y < 0:
			return at(0)
		case r.y > h:
			return at(h)
		}
		return r
	}
	return cut(p), cut(q), true
}

// grain is into how many rows a pixel is cut where the rasterizer's own rule
// for what is inside does not do.
const grain = 16

// An edge is a line downwards, with the winding that it adds.
type edge struct {
	x, y, end, slope float64
	dir              int
}

// A crossing is where an edge meets a row.
type crossing struct {
	x   float64
	dir int
}

// spans cuts what is inside into flat rectangles, row by row, and adds those.
func (z lines) spans(cs []contour, inside func(winding int) bool, left *budget) error {
	edges := z.edges(cs)
	var active []edge
	var row []crossing
	next := 0
	for k := range int(z.h) * grain {
		y := (float64(k) + 0.5) / grain
		for ; next < len(edges) && edges[next].y <= y; next++ {
			active = append(active, edges[next])
		}
		active = slices.DeleteFunc(active, func(e edge) bool { return e.end <= y })
		if k%grain == 0 {
			if err := left.spend(32 * grain * len(active)); err != nil {
				return err
			}
		}
		row = row[:0]
		for _, e := range active {
			row = append(row, crossing{e.x + (y-e.y)*e.slope, e.dir})
		}
		slices.SortFunc(row, func(a, b crossing) int { return cmp.Compare(a.x, b.x) })
		z.row(row, inside, float64(k)/grain, float64(k+1)/grain)
	}
	return nil
}

// row adds the rectangles between y and end that are inside.
func (z lines) row(row []crossing, inside func(winding int) bool, y, end float64) {
	winding, from := 0, 0.0
	for _, c := range row {
		was := inside(winding)
		winding += c.dir
		switch is := inside(winding); {
		case is && !was:
			from = c.x
		case was && !is && c.x > 0 && from < z.w:
			z.inside(point{from, end}, point{from, y})
			z.inside(point{c.x, y}, point{c.x, end})
		}
	}
}

// edges returns the lines of the contours that may touch the picture, by their
// upper end.
func (z lines) edges(cs []contour) []edge {
	var out []edge
	for _, s := range cs {
		for i, p := range s.pts {
			p, q := p.sub(z.org), s.pts[(i+1)%len(s.pts)].sub(z.org)
			e := edge{p.x, p.y, q.y, (q.x - p.x) / (q.y - p.y), 1}
			if p.y > q.y {
				e = edge{q.x, q.y, p.y, e.slope, -1}
			}
			if e.y < e.end && e.end > 0 && e.y < z.h && !math.IsNaN(e.slope+e.x) && !math.IsInf(e.slope, 0) && !math.IsInf(e.x, 0) && !math.IsInf(e.y, 0) {
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b edge) int { return cmp.Compare(a.y, b.y) })
	return out
}

// layer draws on a canvas of its own and lays that over c, with the alpha and
// the tint (nil: none).
func (c *canvas) layer(alpha float64, t *tint, draws func(*canvas) error) error {
	if alpha >= 1 && t == nil {
		return draws(c)
	}
	r := c.img.Bounds()
	if err := c.left.spend(16 * r.Dx() * r.Dy()); err != nil {
		return err
	}
	own := *c
	own.img = image.NewRGBA(r)
	if err := draws(&own); err != nil {
		return err
	}
	if t != nil {
		t.apply(own.img)
	}
	mask := image.NewUniform(solid(0xff000000).withAlpha(alpha).nrgba())
	draw.DrawMask(c.img, r, own.img, r.Min, mask, r.Min, draw.Over)
	return nil
}

// masked draws on a canvas of its own and lays the inside of p of that over c:
// other than with clipped, what is drawn over something else hides it at the
// border too.
func (c *canvas) masked(p *path, draws func(*canvas) error) error {
	with, err := c.clipped(p)
	if err != nil {
		return err
	}
	r := c.img.Bounds()
	own := *c
	own.img, own.clip = image.NewRGBA(r), nil
	if err := draws(&own); err != nil {
		return err
	}
	draw.DrawMask(c.img, r, own.img, r.Min, with.clip, r.Min, draw.Over)
	return nil
}
