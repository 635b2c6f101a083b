package avb

// A decoder corrects codewords of RS(255, 255-roots) in GF(2^8) with the
// polynomial 0x11d, whose generator has the roots α^0, α^1 …
type decoder struct {
	roots    int
	exp      [2 * codeword]byte // α^i
	log      [codeword + 1]int  // of what is not 0
	times    [][256]byte        // products with α^i
	syndrome []byte
	lambda   []byte // the locator of errors and erasures; the coefficient of x^i at i
	previous []byte
	next     []byte
	omega    []byte
}

func newDecoder(roots int) *decoder {
	d := &decoder{roots: roots, syndrome: make([]byte, roots), omega: make([]byte, roots)}
	x := byte(1)
	for i := range codeword {
		d.exp[i], d.exp[i+codeword] = x, x
		d.log[x] = i
		x = fieldMul(x, 2)
	}
	d.times = make([][256]byte, roots)
	for i := range d.times {
		for x := range 256 {
			d.times[i][x] = d.mul(byte(x), d.exp[i])
		}
	}
	d.lambda, d.previous, d.next = make([]byte, roots+2), make([]byte, roots+2), make([]byte, roots+2)
	return d
}

func (d *decoder) mul(a, b byte) byte {
	if a == 0 || b == 0 {
		return 0
	}
	return d.exp[d.log[a]+d.log[b]]
}

func (d *decoder) div(a, b byte) byte { // b is not 0
	if a == 0 {
		return 0
	}
	return d.exp[d.log[a]+codeword-d.log[b]]
}

// decode corrects the codeword in place. The bytes at the erased positions are
// not trusted: of e of them and n further errors, e+2n may be up to roots. It
// returns false, and leaves the codeword alone, if it finds no codeword near.
func (d *decoder) decode(word []byte, erased []int) bool {
	if d.right(word) {
		return true
	}
	if len(erased) > d.roots {
		return false
	}
	degree := d.locate(erased)
	if degree == 0 || degree > d.roots {
		return false
	}
	for i := range d.omega {
		var sum byte
		for j := 0; j <= min(i, degree); j++ {
			sum ^= d.mul(d.lambda[j], d.syndrome[i-j])
		}
		d.omega[i] = sum
	}
	var at [maxRoots]int
	var values [maxRoots]byte
	found := 0
	for p := range codeword {
		power := codeword - 1 - p                   // the byte at p is the coefficient of x^power
		inverse := d.exp[(codeword-power)%codeword] // α^-power
		if d.eval(d.lambda[:degree+1], inverse) != 0 {
			continue
		}
		var slope byte // the locator's derivative there
		for i := 1; i <= degree; i += 2 {
			slope ^= d.mul(d.lambda[i], d.exp[(i-1)*(codeword-power)%codeword])
		}
		if slope == 0 || found == degree {
			return false
		}
		at[found], values[found] = p, d.mul(d.exp[power], d.div(d.eval(d.omega, inverse), slope))
		found++
	}
	if found != degree {
		return false
	}
	for i := range found {
		word[at[i]] ^= values[i]
	}
	if d.right(word) {
		return true
	}
	for i := range found {
		word[at[i]] ^= values[i]
	}
	return false
}

// right computes the syndromes, and reports whether all are 0.
func (d *decoder) right(word []byte) bool {
	ok := true
	for i := range d.syndrome {
		var s byte
		times := &d.times[i]
		for _, c := range word {
			s = times[s] ^ c
		}
		d.syndrome[i] = s
		ok = ok && s == 0
	}
	return ok
}

// eval returns the polynomial's value at x, which is not 0.
func (d *decoder) eval(poly []byte, x byte) byte {
	var sum byte
	for i := len(poly) - 1; i >= 0; i-- {
		sum = d.mul(sum, x) ^ poly[i]
	}
	return sum
}

// locate finds the locator polynomial by Berlekamp and Massey, beginning with
// that of the erasures, and returns its degree.
func (d *decoder) locate(erased []int) int {
	clear(d.lambda)
	d.lambda[0] = 1
	for n, p := range erased {
		x := d.exp[codeword-1-p]
		for i := n + 1; i > 0; i-- {
			d.lambda[i] ^= d.mul(x, d.lambda[i-1])
		}
	}
	copy(d.previous, d.lambda)
	length := len(erased)
	for r := length + 1; r <= d.roots; r++ {
		var discrepancy byte
		for i := range r {
			discrepancy ^= d.mul(d.lambda[i], d.syndrome[r-1-i])
		}
		copy(d.next, d.lambda)
		if discrepancy != 0 {
			for i := 1; i < len(d.next); i++ {
				d.next[i] ^= d.mul(discrepancy, d.previous[i-1])
			}
		}
		if discrepancy != 0 && 2*length <= r+len(erased)-1 {
			length = r + len(erased) - length
			for i, c := range d.lambda {
				d.previous[i] = d.div(c, discrepancy)
			}
		} else {
			copy(d.previous[1:], d.previous)
			d.previous[0] = 0
		}
		d.lambda, d.next = d.next, d.lambda
	}
	degree := 0
	for i, c := range d.lambda {
		if c != 0 {
			degree = i
		}
	}
	return degree
}
