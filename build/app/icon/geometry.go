package icon

import "math"

type point struct{ x, y float64 }

func (p point) add(q point) point        { return point{p.x + q.x, p.y + q.y} }
func (p point) sub(q point) point        { return point{p.x - q.x, p.y - q.y} }
func (p point) mul(f float64) point      { return point{p.x * f, p.y * f} }
func (p point) len() float64             { return math.Hypot(p.x, p.y) }
func (p point) cross(q point) float64    { return p.x*q.y - p.y*q.x }
func (p point) dot(q point) float64      { return p.x*q.x + p.y*q.y }
func lerp(p, q point, t float64) point   { return p.add(q.sub(p).mul(t)) }
func (p point) turned() point            { return point{-p.y, p.x} }
func polar(r, angle float64) point       { return point{r * math.Cos(angle), r * math.Sin(angle)} }
func clamp(v, low, high float64) float64 { return max(low, min(v, high)) }

// A rect is a rectangle whose axes are those of the drawing.
type rect struct{ left, top, right, bottom float64 }

func (r rect) width() float64  { return r.right - r.left }
func (r rect) height() float64 { return r.bottom - r.top }
func (r rect) center() point   { return point{(r.left + r.right) / 2, (r.top + r.bottom) / 2} }
func (r rect) empty() bool     { return !(r.left < r.right && r.top < r.bottom) }

// inset returns r with each side moved inwards.
func (r rect) inset(s sides) rect {
	return rect{r.left + s.left, r.top + s.top, r.right - s.right, r.bottom - s.bottom}
}

// sides are distances from the four sides of a rectangle, in dp.
type sides struct{ left, top, right, bottom float64 }

func allSides(v float64) sides { return sides{v, v, v, v} }

func (s sides) add(t sides) sides {
	return sides{s.left + t.left, s.top + t.top, s.right + t.right, s.bottom + t.bottom}
}

// A matrix maps (x, y) to (a·x + c·y + e, b·x + d·y + f).
type matrix struct{ a, b, c, d, e, f float64 }

func translation(x, y float64) matrix { return matrix{1, 0, 0, 1, x, y} }
func scaling(x, y float64) matrix     { return matrix{x, 0, 0, y, 0, 0} }

// rotation turns clockwise on the screen by degrees.
func rotation(degrees float64) matrix {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	return matrix{cos, sin, -sin, cos, 0, 0}
}

// then returns the matrix that maps with n first, and with m what comes out.
func (m matrix) then(n matrix) matrix {
	return matrix{
		m.a*n.a + m.c*n.b, m.b*n.a + m.d*n.b,
		m.a*n.c + m.c*n.d, m.b*n.c + m.d*n.d,
		m.a*n.e + m.c*n.f + m.e, m.b*n.e + m.d*n.f + m.f,
	}
}

func (m matrix) apply(p point) point {
	return point{m.a*p.x + m.c*p.y + m.e, m.b*p.x + m.d*p.y + m.f}
}

// scale is by how much m makes lengths larger, about.
func (m matrix) scale() float64 { return math.Sqrt(math.Abs(m.a*m.d - m.b*m.c)) }

// inverse returns the matrix that undoes m, and whether there is one.
func (m matrix) inverse() (matrix, bool) {
	det := m.a*m.d - m.b*m.c
	if det == 0 || math.IsNaN(det) || math.IsInf(det, 0) {
		return matrix{}, false
	}
	n := matrix{m.d / det, -m.b / det, -m.c / det, m.a / det, 0, 0}
	n.e, n.f = -(n.a*m.e + n.c*m.f), -(n.b*m.e + n.d*m.f)
	return n, true
}

// A contour is a line through points. A fill closes it; a stroke only if closed
// says so.
type contour struct {
	pts    []point
	closed bool
}

// area is the area of the closed contour, negative if it runs against the clock
// on the screen.
func (c contour) area() float64 {
	sum := 0.0
	for i, p := range c.pts {
		sum += p.cross(c.pts[(i+1)%len(c.pts)])
	}
	return sum / 2
}

// mapped returns the contours as m maps them.
func mapped(cs []contour, m matrix) []contour {
	out := make([]contour, len(cs))
	for i, c := range cs {
		pts := make([]point, len(c.pts))
		for j, p := range c.pts {
			pts[j] = m.apply(p)
		}
		out[i] = contour{pts, c.closed}
	}
	return out
}

// bounds is the smallest rectangle around the contours.
func bounds(cs []contour) rect {
	inf := math.Inf(1)
	r := rect{inf, inf, -inf, -inf}
	for _, c := range cs {
		for _, p := range c.pts {
			r = rect{min(r.left, p.x), min(r.top, p.y), max(r.right, p.x), max(r.bottom, p.y)}
		}
	}
	return r
}
