package icon

import "math"

// The ends and corners of strokes, with the numbers that Android gives them.
const (
	capButt = iota
	capRound
	capSquare
)

const (
	joinMiter = iota
	joinRound
	joinBevel
)

// A pen draws along a path.
type pen struct {
	width      float64
	cap, join  int
	miter      float64 // a corner's length by the width, over which it is cut
	dash, gap  float64 // dash 0: none
	resolution float64 // how fine curves of its own are to be
}

// stroke returns what the pen covers along contours, as pieces that overlap:
// all of them run one way, for the non-zero rule.
func (p pen) stroke(cs []contour) []contour {
	if p.dash > 0 && p.gap > 0 {
		cs = dashed(cs, p.dash, p.gap)
	}
	s := stroker{pen: p, half: p.width / 2}
	for _, c := range cs {
		s.contour(c)
	}
	return s.out
}

type stroker struct {
	pen
	half float64
	out  []contour
}

func (s *stroker) piece(pts ...point) {
	c := contour{pts, true}
	if c.area() < 0 {
		for i, j := 0, len(pts)-1; i < j; i, j = i+1, j-1 {
			pts[i], pts[j] = pts[j], pts[i]
		}
	}
	s.out = append(s.out, c)
}

func (s *stroker) contour(c contour) {
	pts := distinct(c)
	if len(pts) == 1 {
		s.dot(pts[0])
		return
	}
	n := len(pts)
	segments := n - 1
	if c.closed && n > 2 {
		segments = n
	}
	side := func(i int) point { // from the middle of segment i to its left
		d := pts[(i+1)%n].sub(pts[i%n])
		return d.turned().mul(s.half / d.len())
	}
	for i := range segments {
		p, q, w := pts[i], pts[(i+1)%n], side(i)
		s.piece(p.add(w), q.add(w), q.sub(w), p.sub(w))
		if i+1 < segments || segments == n {
			s.corner(q, w, side(i+1))
		}
	}
	if segments < n {
		s.end(pts[0], side(0))
		s.end(pts[n-1], side(n-2).mul(-1))
	}
}

// distinct returns the points of c, each but once where it stands still.
func distinct(c contour) []point {
	var out []point
	for _, p := range c.pts {
		if len(out) == 0 || p.sub(out[len(out)-1]).len() > 1e-9 {
			out = append(out, p)
		}
	}
	if n := len(out); c.closed && n > 1 && out[0].sub(out[n-1]).len() <= 1e-9 {
		out = out[:n-1]
	}
	return out
}

// dot is what a stroke without length leaves.
func (s *stroker) dot(p point) {
	switch h := s.half; s.cap {
	case capRound:
		s.pie(p, point{h, 0}, 2*math.Pi)
	case capSquare:
		s.piece(p.add(point{-h, -h}), p.add(point{h, -h}), p.add(point{h, h}), p.add(point{-h, h}))
	}
}

// end adds the cap at p, where the stroke begins with its left side at w.
func (s *stroker) end(p, w point) {
	switch s.cap {
	case capRound:
		s.pie(p, w, math.Pi)
	case capSquare:
		back := w.turned()
		s.piece(p.add(w), p.add(w).add(back), p.sub(w).add(back), p.sub(w))
	}
}

// corner fills the wedge at q between segments whose left sides are v and w.
func (s *stroker) corner(q, v, w point) {
	turn := math.Atan2(v.cross(w), v.dot(w))
	if turn == 0 {
		return
	}
	if turn > 0 { // the wedge is on the right
		v, w = v.mul(-1), w.mul(-1)
	}
	if s.join == joinRound {
		s.pie(q, v, turn)
		return
	}
	s.piece(q, q.add(v), q.add(w))
	cos := math.Cos(turn / 2)
	if s.join == joinMiter && cos > 1e-6 && 1/cos <= s.miter {
		tip := v.add(w)
		s.piece(q.add(v), q.add(tip.mul(s.half/cos/max(tip.len(), 1e-12))), q.add(w))
	}
}

// pie adds the part of a disk around p from p+w, over the angle turn.
func (s *stroker) pie(p, w point, turn float64) {
	n := steps(math.Abs(turn)*s.half, s.resolution)
	n = max(n, int(math.Ceil(math.Abs(turn)/(math.Pi/8))))
	pts := []point{p}
	a := math.Atan2(w.y, w.x)
	for i := range n + 1 {
		pts = append(pts, p.add(polar(s.half, a+turn*float64(i)/float64(n))))
	}
	s.piece(pts...)
}

// maxDashes bounds how many pieces a line is cut into.
const maxDashes = 1 << 14

// dashed cuts contours into lines of length on with gaps of length off.
func dashed(cs []contour, on, off float64) []contour {
	var out []contour
	for _, c := range cs {
		total := length(c)
		if total/(on+off) > maxDashes {
			out = append(out, c)
			continue
		}
		for at := 0.0; at < total; at += on + off {
			if d := part(c, at, min(at+on, total)); len(d.pts) > 1 {
				out = append(out, d)
			}
		}
	}
	return out
}

// line returns the points of c, with the first again at the end of a closed one.
func (c contour) line() []point {
	if !c.closed || len(c.pts) == 0 {
		return c.pts
	}
	return append(c.pts[:len(c.pts):len(c.pts)], c.pts[0])
}

func length(c contour) (sum float64) {
	pts := c.line()
	for i := 1; i < len(pts); i++ {
		sum += pts[i].sub(pts[i-1]).len()
	}
	return sum
}

// part returns the part of c between two lengths along it.
func part(c contour, from, to float64) contour {
	var out contour
	pts, at := c.line(), 0.0
	for i := 1; i < len(pts); i++ {
		p, q := pts[i-1], pts[i]
		d := q.sub(p).len()
		if d > 0 && at+d >= from && at <= to {
			if len(out.pts) == 0 {
				out.pts = append(out.pts, lerp(p, q, clamp((from-at)/d, 0, 1)))
			}
			out.pts = append(out.pts, lerp(p, q, clamp((to-at)/d, 0, 1)))
		}
		at += d
	}
	return out
}
