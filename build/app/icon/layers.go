package icon

import "mios/format/apk"

// A layerDrawable draws one drawable over the other, AOSP's LayerDrawable.
type layerDrawable struct {
	list  []layer
	stack bool // padding of one layer does not move the next
}

type layer struct {
	of      drawable
	inset   sides
	w, h    float64 // dp; negative: not said
	gravity int
}

// idMask is android:id/mask, the layer that only bounds a ripple.
const idMask = 0x0102002e

func (d *drawing) layers(e *apk.Element) drawable {
	out := &layerDrawable{stack: attrs{d, e}.int(attrPaddingMode, 0) == 1}
	for _, item := range items(e) {
		a := attrs{d, item}
		if id := item.Res(attrID); e.Name == "ripple" && id != nil && id.Value.Data == idMask {
			continue
		}
		of := d.child(item)
		if of == nil {
			continue
		}
		left, right := a.length(attrLeft, 0), a.length(attrRight, 0)
		out.list = append(out.list, layer{
			of: of,
			inset: sides{
				a.length(attrStart, left), a.length(attrTop, 0),
				a.length(attrEnd, right), a.length(attrBottom, 0),
			},
			w: a.length(attrWidth, -1), h: a.length(attrHeight, -1),
			gravity: a.int(attrGravity, 0),
		})
	}
	if len(out.list) == 0 {
		return nil
	}
	return out
}

func (d *layerDrawable) size() (w, h float64) {
	w, h = -1, -1
	var pad sides
	for _, l := range d.list {
		lw, lh := l.of.size()
		if l.w >= 0 {
			lw = l.w
		}
		if l.h >= 0 {
			lh = l.h
		}
		if lw >= 0 {
			w = max(w, lw+l.inset.left+l.inset.right+pad.left+pad.right)
		}
		if lh >= 0 {
			h = max(h, lh+l.inset.top+l.inset.bottom+pad.top+pad.bottom)
		}
		if !d.stack {
			pad = pad.add(l.of.padding())
		}
	}
	return w, h
}

func (d *layerDrawable) padding() sides {
	var out sides
	for _, l := range d.list {
		p := l.of.padding()
		if d.stack {
			out = sides{max(out.left, p.left), max(out.top, p.top), max(out.right, p.right), max(out.bottom, p.bottom)}
		} else {
			out = out.add(p)
		}
	}
	return out
}

func (d *layerDrawable) draw(c *canvas, in rect) error {
	var pad sides
	for _, l := range d.list {
		if at := l.place(in.inset(l.inset.add(pad))); !at.empty() {
			if err := l.of.draw(c, at); err != nil {
				return err
			}
		}
		if !d.stack {
			pad = pad.add(l.of.padding())
		}
	}
	return nil
}

// place is where in the room of a layer its drawable goes.
func (l layer) place(room rect) rect {
	ow, oh := l.of.size()
	g := l.gravity
	if g&0x07 == 0 {
		g |= gravityLeft
		if l.w < 0 {
			g |= gravityFillH
		}
	}
	if g&0x70 == 0 {
		g |= gravityTop
		if l.h < 0 {
			g |= gravityFillV
		}
	}
	w, h := l.w, l.h
	if w < 0 {
		if w = ow; ow < 0 {
			g |= gravityFillH
		}
	}
	if h < 0 {
		if h = oh; oh < 0 {
			g |= gravityFillV
		}
	}
	return gravityRect(g, w, h, room)
}

// The parts of a gravity, with Android's numbers (android.view.Gravity). Right
// and left are also end and start: drawings run from left to right here.
const (
	gravityLeft  = 0x03
	gravityRight = 0x05
	gravityFillH = 0x07
	gravityTop   = 0x30
	gravityFoot  = 0x50
	gravityFillV = 0x70
)

// gravityRect places a rectangle of w times h in room.
func gravityRect(g int, w, h float64, room rect) rect {
	along := func(g, atStart, atEnd, fill int, size, low, high float64) (float64, float64) {
		switch g & fill {
		case fill:
			return low, high
		case atStart:
			return low, low + size
		case atEnd:
			return high - size, high
		}
		return (low + high - size) / 2, (low + high + size) / 2
	}
	var r rect
	r.left, r.right = along(g, gravityLeft, gravityRight, gravityFillH, w, room.left, room.right)
	r.top, r.bottom = along(g, gravityTop, gravityFoot, gravityFillV, h, room.top, room.bottom)
	return r
}
