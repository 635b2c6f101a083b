package dex

import "encoding/binary"

// codeItem is the code of a method.
type codeItem struct {
	off      int    // of the first instruction
	units    []byte // instructions
	tries    int
	handlers int // offset of the first try_item, if tries is not 0
}

// code reads the code at off; offset 0 is none.
func (f *File) code(off int) (codeItem, error) {
	if off == 0 {
		return codeItem{}, nil
	}
	c := cursor{b: f.b, off: off}
	if off%4 != 0 {
		return codeItem{}, bad(off, "code: offset is no multiple of 4")
	}
	c.bytes(6) // registers, ins, outs
	item := codeItem{tries: int(c.u16())}
	c.u32() // debug_info_off
	n := int(c.u32())
	item.off = c.off
	item.units = c.bytes(2 * n)
	if c.err != nil {
		return codeItem{}, bad(off, "code of %d units passes the end", n)
	}
	if n%2 == 1 {
		n++
	}
	item.handlers = item.off + 2*n
	return item, nil
}

// catches calls yield with each type that the code catches.
func (f *File) catches(item codeItem, yield func(typ int)) error {
	if item.tries == 0 {
		return nil
	}
	c := cursor{b: f.b, off: item.handlers}
	c.bytes(8 * item.tries)
	for range c.index(item.tries+1, "list of handlers") {
		n := c.sleb()
		if n < -65536 || n > 65536 {
			return bad(c.off, "%d exception handlers", n)
		}
		all := n <= 0
		if all {
			n = -n
		}
		for ; n > 0 && c.err == nil; n-- {
			typ := c.index(f.Types, "type")
			c.uleb() // address
			if c.err == nil {
				yield(typ)
			}
		}
		if all {
			c.uleb() // address
		}
	}
	return c.err
}

// What an instruction's index is one of.
const (
	refNone     = '.'
	refString   = 's'
	refType     = 't'
	refField    = 'f'
	refMethod   = 'm'
	refPoly     = 'p' // a method, and a proto
	refCallSite = 'c'
	refHandle   = 'h'
	refProto    = 'r'
	refUnused   = 'x' // no instruction
)

// widths and kinds say, for each opcode, how many units its instruction has and
// what its index refers to (source.android.com, Dalvik bytecode format).
const (
	widths = "1123123123111111" + // 00
		"1112322352232112" + // 10
		"2122333112333222" + // 20
		"2222222222222211" + // 30
		"1111222222222222" + // 40
		"2222222222222222" + // 50
		"2222222222222233" + // 60
		"3331333331111111" + // 70
		"1111111111111111" + // 80
		"2222222222222222" + // 90
		"2222222222222222" + // a0
		"1111111111111111" + // b0
		"1111111111111111" + // c0
		"2222222222222222" + // d0
		"2221111111111111" + // e0
		"1111111111443322" // f0
	kinds = "................" + // 00
		"..........sst..t" + // 10
		"t.tttt.........." + // 20
		"..............xx" + // 30
		"xxxx............" + // 40
		"..ffffffffffffff" + // 50
		"ffffffffffffffmm" + // 60
		"mmmxmmmmmxx....." + // 70
		"................" + // 80
		"................" + // 90
		"................" + // a0
		"................" + // b0
		"................" + // c0
		"................" + // d0
		"...xxxxxxxxxxxxx" + // e0
		"xxxxxxxxxxppcchr" // f0
)

// opNames are the instructions that refer to something.
var opNames = [256]string{
	0x1a: "const-string", 0x1b: "const-string/jumbo", 0x1c: "const-class", 0x1f: "check-cast",
	0x20: "instance-of", 0x22: "new-instance", 0x23: "new-array", 0x24: "filled-new-array", 0x25: "filled-new-array/range",
	0x52: "iget", 0x53: "iget-wide", 0x54: "iget-object", 0x55: "iget-boolean", 0x56: "iget-byte", 0x57: "iget-char", 0x58: "iget-short",
	0x59: "iput", 0x5a: "iput-wide", 0x5b: "iput-object", 0x5c: "iput-boolean", 0x5d: "iput-byte", 0x5e: "iput-char", 0x5f: "iput-short",
	0x60: "sget", 0x61: "sget-wide", 0x62: "sget-object", 0x63: "sget-boolean", 0x64: "sget-byte", 0x65: "sget-char", 0x66: "sget-short",
	0x67: "sput", 0x68: "sput-wide", 0x69: "sput-object", 0x6a: "sput-boolean", 0x6b: "sput-byte", 0x6c: "sput-char", 0x6d: "sput-short",
	0x6e: "invoke-virtual", 0x6f: "invoke-super", 0x70: "invoke-direct", 0x71: "invoke-static", 0x72: "invoke-interface",
	0x74: "invoke-virtual/range", 0x75: "invoke-super/range", 0x76: "invoke-direct/range", 0x77: "invoke-static/range", 0x78: "invoke-interface/range",
	0xfa: "invoke-polymorphic", 0xfb: "invoke-polymorphic/range", 0xfc: "invoke-custom", 0xfd: "invoke-custom/range",
	0xfe: "const-method-handle", 0xff: "const-method-type",
}

// instruction is one that refers to something.
type instruction struct {
	at    int // in units from the method's first
	op    byte
	kind  byte // refString ...
	index int  // of what kind says
	proto int  // of refPoly
}

// instructions calls yield with each instruction of the code that refers to
// something.
func (f *File) instructions(item codeItem, yield func(instruction) error) error {
	u := item.units
	unit := func(i int) int { return int(binary.LittleEndian.Uint16(u[2*i:])) }
	n := len(u) / 2
	for i := 0; i < n; {
		op := u[2*i]
		width, kind := int(widths[op]-'0'), kinds[op]
		if op == 0 && u[2*i+1] != 0 {
			var ok bool
			if width, ok = payload(u[2*i:]); !ok {
				return bad(item.off+2*i, "unit %#x: table passes the end of the code", i)
			}
		}
		switch {
		case kind == refUnused:
			return bad(item.off+2*i, "unit %#x: opcode %#x, which is none", i, op)
		case width > n-i:
			return bad(item.off+2*i, "unit %#x: opcode %#x passes the end of the code", i, op)
		case kind != refNone:
			in := instruction{at: i, op: op, kind: kind, index: unit(i + 1)}
			if op == 0x1b { // const-string/jumbo
				in.index |= unit(i+2) << 16
			}
			if kind == refPoly {
				in.proto = unit(i + 3)
			}
			if limit := f.limit(kind); in.index >= limit {
				return bad(item.off+2*i, "unit %#x: %s: %d of %d", i, opNames[op], in.index, limit)
			}
			if kind == refPoly && in.proto >= f.Protos {
				return bad(item.off+2*i, "unit %#x: %s: proto %d of %d", i, opNames[op], in.proto, f.Protos)
			}
			if err := yield(in); err != nil {
				return err
			}
		}
		i += width
	}
	return nil
}

// limit is how many things of the kind there are.
func (f *File) limit(kind byte) int {
	switch kind {
	case refString:
		return f.Strings
	case refType:
		return f.Types
	case refField:
		return f.Fields
	case refMethod, refPoly:
		return f.Methods
	case refCallSite:
		return f.sites.n
	case refHandle:
		return f.handles.n
	}
	return f.Protos
}

// payload returns the length in units of the table among instructions that b
// begins with: of a switch, or of an array's contents. Other units with the
// opcode nop are nop.
func payload(b []byte) (width int, ok bool) {
	c := cursor{b: b}
	switch c.u16() {
	case 0x0100: // packed-switch
		width = 4 + 2*int(c.u16())
	case 0x0200: // sparse-switch
		width = 2 + 4*int(c.u16())
	case 0x0300: // fill-array-data
		size := int64(c.u16())
		bytes := size * int64(c.u32())
		if bytes > int64(len(b)) {
			return 0, false
		}
		width = 4 + int(bytes+1)/2
	default:
		return 1, true
	}
	return width, c.err == nil && width <= len(b)/2
}
