package icon

import (
	"fmt"
	"math"
	"strconv"
)

// A path is an outline of lines and Bézier curves.
type path struct {
	ops []op
	pts []point // of each op in turn: 1, 1, 2, 3, 0
}

type op uint8

const (
	moveTo op = iota
	lineTo
	quadTo
	cubicTo
	closePath
)

func (p *path) add(o op, pts ...point) {
	p.ops = append(p.ops, o)
	p.pts = append(p.pts, pts...)
}

// maxPathOps bounds a path, which may be a short text: "h1" is one.
const maxPathOps = 1 << 17

// A pathError says where the text of a path is wrong.
type pathError struct {
	off int // in bytes
	msg string
}

func (e *pathError) Error() string { return fmt.Sprintf("path data: offset %d: %s", e.off, e.msg) }

// operands is how many numbers follow each command, in lower case.
var operands = map[byte]int{'m': 2, 'l': 2, 'h': 1, 'v': 1, 'c': 6, 's': 4, 'q': 4, 't': 2, 'a': 7, 'z': 0}

// parsePath reads path data as AOSP's PathParser does (frameworks/base,
// libs/hwui): SVG's, but that the flags of an arc are numbers like the others
// and that all of it must be right.
func parsePath(s string) (*path, error) {
	p := &pathParser{s: s}
	p.space()
	if p.off == len(s) {
		return nil, &pathError{0, "empty"}
	}
	for p.off < len(s) {
		if err := p.command(); err != nil {
			return nil, err
		}
	}
	return &p.out, nil
}

type pathParser struct {
	s     string
	off   int
	out   path
	at    point // the pen
	start point // of the contour
	ctrl  point // last control point of the curve before
	prev  byte  // the command before, in lower case
}

func (p *pathParser) bad(format string, args ...any) error {
	return &pathError{p.off, fmt.Sprintf(format, args...)}
}

func (p *pathParser) space() {
	for p.off < len(p.s) {
		switch p.s[p.off] {
		case ' ', ',', '\t', '\n', '\r', '\f', '\v':
			p.off++
		default:
			return
		}
	}
}

// command reads one letter and its numbers.
func (p *pathParser) command() error {
	letter := p.s[p.off]
	lower := letter | 0x20
	n, ok := operands[lower]
	if !ok || letter < 'A' {
		return p.bad("%q is no command", letter)
	}
	p.off++
	p.space()
	if n == 0 {
		p.draw(lower, false, nil)
		return nil
	}
	var nums [7]float64
	for first := true; p.off < len(p.s) && !isLetter(p.s[p.off]); first = false {
		for i := range n {
			v, err := p.number()
			if err != nil {
				return err
			}
			nums[i] = v
		}
		c := lower
		if c == 'm' && !first {
			c = 'l'
		}
		p.draw(c, letter == lower, nums[:n])
		if len(p.out.ops) > maxPathOps {
			return p.bad("more than %d segments", maxPathOps)
		}
	}
	return nil
}

func isLetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

// number reads a number and the space after it.
func (p *pathParser) number() (float64, error) {
	from := p.off
	digits := func() (n int) {
		for ; p.off < len(p.s) && p.s[p.off] >= '0' && p.s[p.off] <= '9'; p.off++ {
			n++
		}
		return n
	}
	sign := func() {
		if p.off < len(p.s) && (p.s[p.off] == '-' || p.s[p.off] == '+') {
			p.off++
		}
	}
	sign()
	n := digits()
	if p.off < len(p.s) && p.s[p.off] == '.' {
		p.off++
		n += digits()
	}
	if n == 0 {
		p.off = from
		return 0, p.bad("want a number")
	}
	if p.off < len(p.s) && p.s[p.off]|0x20 == 'e' {
		p.off++
		sign()
		if digits() == 0 {
			return 0, p.bad("exponent without digits")
		}
	}
	v, err := strconv.ParseFloat(p.s[from:p.off], 32)
	if err != nil {
		p.off = from
		return 0, p.bad("number out of range")
	}
	p.space()
	return v, nil
}

// draw adds one segment. n are the numbers of the command c.
func (p *pathParser) draw(c byte, relative bool, n []float64) {
	base := point{}
	if relative {
		base = p.at
	}
	pt := func(i int) point { return base.add(point{n[i], n[i+1]}) }
	if c != 'm' && c != 'z' && (len(p.out.ops) == 0 || p.prev == 'z') {
		p.out.add(moveTo, p.at) // after a contour that is closed, and without a first m
	}
	end := p.at
	ctrl := p.at
	mirrored := func(curves string) point {
		if p.prev == curves[0] || p.prev == curves[1] {
			return p.at.mul(2).sub(p.ctrl)
		}
		return p.at
	}
	switch c {
	case 'm':
		end = pt(0)
		p.start = end
		p.out.add(moveTo, end)
	case 'z':
		end = p.start
		if len(p.out.ops) > 0 {
			p.out.add(closePath)
		}
	case 'l':
		end = pt(0)
		p.out.add(lineTo, end)
	case 'h':
		end.x = base.x + n[0]
		p.out.add(lineTo, end)
	case 'v':
		end.y = base.y + n[0]
		p.out.add(lineTo, end)
	case 'c':
		ctrl, end = pt(2), pt(4)
		p.out.add(cubicTo, pt(0), ctrl, end)
	case 's':
		first := mirrored("cs")
		ctrl, end = pt(0), pt(2)
		p.out.add(cubicTo, first, ctrl, end)
	case 'q':
		ctrl, end = pt(0), pt(2)
		p.out.add(quadTo, ctrl, end)
	case 't':
		ctrl, end = mirrored("qt"), pt(0)
		p.out.add(quadTo, ctrl, end)
	case 'a':
		end = pt(5)
		p.out.arc(p.at, end, n[0], n[1], n[2], n[3] != 0, n[4] != 0)
	}
	p.at, p.ctrl, p.prev = end, ctrl, c
}

// arc adds an elliptical arc, as SVG 1.1 appendix F.6 describes it.
func (p *path) arc(from, to point, rx, ry, degrees float64, large, sweep bool) {
	rx, ry = math.Abs(rx), math.Abs(ry)
	if from == to {
		return
	}
	if rx == 0 || ry == 0 {
		p.add(lineTo, to)
		return
	}
	turn := rotation(degrees)
	back, _ := turn.inverse()
	h := back.apply(from.sub(to).mul(0.5)) // in the axes of the ellipse, from its chord's middle
	if l := h.x*h.x/(rx*rx) + h.y*h.y/(ry*ry); l > 1 {
		rx, ry = rx*math.Sqrt(l), ry*math.Sqrt(l)
	}
	d := rx*rx*h.y*h.y + ry*ry*h.x*h.x
	f := math.Sqrt(max(0, (rx*rx*ry*ry-d)/d))
	if large == sweep {
		f = -f
	}
	c := point{f * rx * h.y / ry, -f * ry * h.x / rx}
	center := turn.apply(c).add(lerp(from, to, 0.5))
	a0 := math.Atan2((h.y-c.y)/ry, (h.x-c.x)/rx)
	a1 := math.Atan2((-h.y-c.y)/ry, (-h.x-c.x)/rx)
	if sweep && a1 < a0 {
		a1 += 2 * math.Pi
	}
	if !sweep && a1 > a0 {
		a1 -= 2 * math.Pi
	}
	m := translation(center.x, center.y).then(turn).then(scaling(rx, ry))
	p.circleArc(m, a0, a1, to)
}

// circleArc adds the arc of the unit circle between two angles, as m maps it,
// to the point end.
func (p *path) circleArc(m matrix, a0, a1 float64, end point) {
	n := int(math.Ceil(math.Abs(a1-a0) / (math.Pi / 2) * (1 - 1e-9)))
	if n < 1 || n > 5 { // 5: angles that are no numbers
		p.add(lineTo, end)
		return
	}
	step := (a1 - a0) / float64(n)
	k := 4.0 / 3 * math.Tan(step/4)
	for i := range n {
		from, to := polar(1, a0+float64(i)*step), polar(1, a0+float64(i+1)*step)
		last := m.apply(to)
		if i == n-1 {
			last = end
		}
		p.add(cubicTo, m.apply(from.add(from.turned().mul(k))), m.apply(to.sub(to.turned().mul(k))), last)
	}
}

// ellipse returns the one that touches the sides of r, clockwise.
func ellipse(r rect) *path {
	c := r.center()
	m := translation(c.x, c.y).then(scaling(r.width()/2, r.height()/2))
	p := new(path)
	p.add(moveTo, m.apply(point{1, 0}))
	p.circleArc(m, 0, 2*math.Pi, m.apply(point{1, 0}))
	p.add(closePath)
	return p
}

// corners are radii, clockwise from the top left.
type corners [4]float64

// roundRect returns r with round corners. Radii that do not fit are made
// smaller in proportion, as Skia does.
func roundRect(r rect, radii corners) *path {
	f := 1.0
	for i, side := range [4]float64{r.width(), r.height(), r.width(), r.height()} {
		if sum := radii[i] + radii[(i+1)%4]; sum > side {
			f = min(f, side/sum)
		}
	}
	p := new(path)
	corner := func(i int, c, toCenter point) {
		rad := max(0, radii[i]) * f
		center := c.add(toCenter.mul(rad))
		a := math.Pi + float64(i)*math.Pi/2
		from, to := center.add(polar(rad, a)), center.add(polar(rad, a+math.Pi/2))
		if i == 0 {
			p.add(moveTo, from)
		} else {
			p.add(lineTo, from)
		}
		if rad > 0 {
			p.circleArc(translation(center.x, center.y).then(scaling(rad, rad)), a, a+math.Pi/2, to)
		}
	}
	corner(0, point{r.left, r.top}, point{1, 1})
	corner(1, point{r.right, r.top}, point{-1, 1})
	corner(2, point{r.right, r.bottom}, point{-1, -1})
	corner(3, point{r.left, r.bottom}, point{1, -1})
	p.add(closePath)
	return p
}

// maxSteps and maxPoints bound in how many lines one curve is cut, and a path.
const (
	maxSteps  = 128
	maxPoints = 1 << 18
)

// flat returns the path as m maps it, with lines in the place of curves, which
// are nowhere further from them than tolerance, unless it has very many.
func (p *path) flat(m matrix, tolerance float64) []contour {
	var out []contour
	most := max(1, min(maxSteps, maxPoints/max(1, len(p.ops))))
	steps := func(bend float64) int { return min(most, steps(bend, tolerance)) }
	var cur contour
	flush := func() {
		if len(cur.pts) > 1 {
			out = append(out, cur)
		}
		cur = contour{}
	}
	i := 0
	next := func() point { i++; return m.apply(p.pts[i-1]) }
	for _, o := range p.ops {
		switch o {
		case moveTo:
			flush()
			cur.pts = append(cur.pts, next())
		case lineTo:
			cur.pts = append(cur.pts, next())
		case quadTo:
			a, b, c := cur.pts[len(cur.pts)-1], next(), next()
			n := steps(0.25 * a.sub(b.mul(2)).add(c).len())
			for k := 1; k <= n; k++ {
				t := float64(k) / float64(n)
				cur.pts = append(cur.pts, lerp(lerp(a, b, t), lerp(b, c, t), t))
			}
		case cubicTo:
			a, b, c, d := cur.pts[len(cur.pts)-1], next(), next(), next()
			n := steps(0.75 * max(a.sub(b.mul(2)).add(c).len(), b.sub(c.mul(2)).add(d).len()))
			for k := 1; k <= n; k++ {
				t := float64(k) / float64(n)
				ab, bc, cd := lerp(a, b, t), lerp(b, c, t), lerp(c, d, t)
				cur.pts = append(cur.pts, lerp(lerp(ab, bc, t), lerp(bc, cd, t), t))
			}
		case closePath:
			if len(cur.pts) > 0 {
				first := cur.pts[0]
				cur.closed = true
				if len(cur.pts) == 1 {
					cur.pts = append(cur.pts, first)
				}
				flush()
				cur.pts = append(cur.pts, first)
			}
		}
	}
	flush()
	return out
}

// steps is Wang's formula: in how many lines to cut a curve.
func steps(bend, tolerance float64) int {
	n := math.Ceil(math.Sqrt(bend / tolerance))
	if !(n >= 1) {
		return 1
	}
	return int(min(n, maxSteps))
}
