package dex

import "slices"

func (w *writer) annotate(c srcClass) int {
	if len(c.annotations) == 0 {
		return 0
	}
	var items []int
	for _, t := range c.annotations {
		items = append(items, w.item(0x2004, 1))
		w.data = append(w.data, 1) // runtime
		w.uleb(w.typ(t), 0)
	}
	set := w.item(0x1003, 4)
	w.u32(len(items))
	w.u32(items...)
	list := w.item(0x1002, 4) // of a parameter
	w.u32(1, set)
	members := [3][]int{} // fields, methods, parameters: index, offset
	for _, r := range c.noted {
		if r.IsMethod() {
			i := slices.Index(w.methods, r)
			members[1] = append(members[1], i, set)
			members[2] = append(members[2], i, list)
		} else {
			members[0] = append(members[0], slices.Index(w.fields, r), set)
		}
	}
	off := w.item(0x2006, 4)
	w.u32(set, len(members[0])/2, len(members[1])/2, len(members[2])/2)
	for _, m := range members {
		w.u32(m...)
	}
	return off
}

// array writes an encoded_array.
func (w *writer) array(values []srcValue) {
	w.uleb(len(values))
	for _, v := range values {
		index := 0
		switch r := v.ref.(type) {
		case []srcValue:
			w.data = append(w.data, v.kind)
			w.array(r)
			continue
		case nil:
			w.data = append(w.data, v.kind)
			continue
		case int:
			index = r
		case srcType:
			index = w.typ(string(r))
			if v.kind == valueAnnotation {
				w.data = append(w.data, v.kind)
				w.uleb(index, 0)
				continue
			}
		case srcString:
			index = w.str(string(r))
		case Ref:
			if index = slices.Index(w.fields, r); r.IsMethod() {
				index = slices.Index(w.methods, r)
			}
		}
		w.data = append(w.data, v.kind|1<<5, byte(index), byte(index>>8))
	}
}

// tables writes method handles and call sites.
func (w *writer) tables(c srcClass) {
	var at []int
	for _, site := range c.sites {
		at = append(at, w.item(0x2005, 1))
		w.array(site)
	}
	for _, off := range at {
		w.item(mapCallSite, 4)
		w.u32(off)
	}
	for _, h := range c.handles {
		w.item(mapHandle, 4)
		index := slices.Index(w.fields, h.ref)
		if h.ref.IsMethod() {
			index = slices.Index(w.methods, h.ref)
		}
		w.u32(int(h.kind), index)
	}
}
