package static

import (
	"net/http"
	"strconv"
	"strings"
)

// conditional tells whether a request has conditions (RFC 9110, section 13.1).
func conditional(h http.Header) bool {
	return h["If-None-Match"] != nil || h["If-Match"] != nil || h["If-Range"] != nil
}

// encodable tells whether an encoding may be the answer: a range is one of the
// file as it is, and so is what a request depends on.
func encodable(h http.Header) bool {
	return h["Accept-Encoding"] != nil && h["Range"] == nil && h["If-Match"] == nil
}

// simpleRange reads a Range header of one range that a file of size bytes has
// (RFC 9110, section 14.1.2). Whatever else it is, package http decides.
func simpleRange(text string, size int64) (start, length int64, ok bool) {
	spec, isBytes := strings.CutPrefix(text, "bytes=")
	from, to, isRange := strings.Cut(spec, "-")
	if !isBytes || !isRange || !digits(from) || !digits(to) {
		return 0, 0, false
	}
	first, errFirst := strconv.ParseInt(from, 10, 64)
	last, errLast := strconv.ParseInt(to, 10, 64)
	switch {
	case from == "" && errLast == nil && last > 0 && size > 0:
		last = min(last, size)
		return size - last, last, true
	case from == "" || errFirst != nil || first >= size:
		return 0, 0, false
	case to == "":
		return first, size - first, true
	case errLast != nil || last < first:
		return 0, 0, false
	}
	return first, min(last, size-1) - first + 1, true
}

// digits tells whether a text has nothing but digits.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func contentRange(start, n, size int64) string {
	b := append(make([]byte, 0, 64), "bytes "...)
	b = append(strconv.AppendInt(b, start, 10), '-')
	b = append(strconv.AppendInt(b, start+n-1, 10), '/')
	return string(strconv.AppendInt(b, size, 10))
}

// choose returns the encoding that an Accept-Encoding header prefers (RFC 9110,
// section 12.5.3), of those it likes as well the smallest one; nil for the file
// as it is.
func choose(accept string, list *variants) *variant {
	if accept == "" || len(*list) == 0 {
		return nil
	}
	q := weights(accept)
	var best *variant
	bestQ := max(q[identity], 0)
	for i := range *list { // the smallest comes first
		v := &(*list)[i]
		if w := q[v.coding.index]; w > 0 && (w > bestQ || w == bestQ && best == nil) {
			best, bestQ = v, w
		}
	}
	return best
}

// weights reads the quality values of an Accept-Encoding header, in
// thousandths, by the coding's index; -1 for what it does not name.
func weights(accept string) (q [identity + 1]int) {
	other := -1
	for i := range q {
		q[i] = -1
	}
	for len(accept) > 0 {
		var item string
		item, accept, _ = strings.Cut(accept, ",")
		name, params, _ := strings.Cut(item, ";")
		w := quality(params)
		switch name = strings.TrimSpace(name); {
		case name == "*":
			other = w
		case strings.EqualFold(name, "identity"):
			q[identity] = w
		case strings.EqualFold(name, "x-gzip"):
			q[codings[gz].index] = w
		default:
			for i := range codings {
				if strings.EqualFold(name, codings[i].name) {
					q[i] = w
				}
			}
		}
	}
	for i := range codings {
		if q[i] < 0 {
			q[i] = other
		}
	}
	return q
}

// quality reads "q=0.5" as 500. What makes no sense is 0: it is not wanted.
func quality(params string) int {
	for params != "" {
		var p string
		p, params, _ = strings.Cut(params, ";")
		p = strings.TrimSpace(p)
		if len(p) < 2 || p[0]|0x20 != 'q' || p[1] != '=' {
			continue
		}
		f, err := strconv.ParseFloat(p[2:], 64)
		if err != nil || !(f >= 0 && f <= 1) {
			return 0
		}
		return int(f * 1000)
	}
	return 1000
}
