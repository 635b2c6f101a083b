package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxOptions bounds how many options a client may try.
const maxOptions = 32

// handshake negotiates; serve is false when the client ended it.
func (c *conn) handshake() (serve bool, err error) {
	hello := binary.BigEndian.AppendUint64(nil, magicServer)
	hello = binary.BigEndian.AppendUint64(hello, magicOption)
	hello = binary.BigEndian.AppendUint16(hello, flagFixed|flagNoZeroes)
	c.w.Write(hello)
	if err := c.w.Flush(); err != nil {
		return false, err
	}
	var flags [4]byte
	if _, err := io.ReadFull(c.r, flags[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return false, nil // somebody looked whether the socket is there
		}
		return false, err
	}
	f := binary.BigEndian.Uint32(flags[:])
	if f&flagFixed == 0 || f&^(flagFixed|flagNoZeroes) != 0 {
		return false, &FormatError{fmt.Sprintf("handshake flags %#x: want fixed newstyle", f)}
	}
	for range maxOptions {
		kind, data, err := c.option()
		if err != nil {
			return false, err
		}
		switch kind {
		case optExportName:
			return true, c.exportName(f&flagNoZeroes == 0)
		case optAbort:
			return false, c.reply(kind, repAck, nil)
		case optGo, optInfo:
			ok, err := c.info(kind, data)
			if err != nil || ok && kind == optGo {
				return ok, err
			}
		case optList:
			err = c.list(data)
		default:
			err = c.reply(kind, repErrUnsup, nil)
		}
		if err != nil {
			return false, err
		}
	}
	return false, &FormatError{fmt.Sprintf("more than %d options", maxOptions)}
}

// option reads one option.
func (c *conn) option() (kind uint32, data []byte, err error) {
	var h [16]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return 0, nil, err
	}
	if m := binary.BigEndian.Uint64(h[:]); m != magicOption {
		return 0, nil, &FormatError{fmt.Sprintf("option magic %#x", m)}
	}
	n := binary.BigEndian.Uint32(h[12:])
	if n > maxOption {
		return 0, nil, &FormatError{fmt.Sprintf("option of %d bytes, more than %d", n, maxOption)}
	}
	data = make([]byte, n)
	_, err = io.ReadFull(c.r, data)
	return binary.BigEndian.Uint32(h[8:]), data, err
}

// reply answers an option.
func (c *conn) reply(option, kind uint32, data []byte) error {
	b := binary.BigEndian.AppendUint64(nil, magicOptReply)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	c.w.Write(append(b, data...))
	return c.w.Flush()
}

// exportName answers the old way into transmission, which cannot refuse; every
// name is the one export.
func (c *conn) exportName(zeroes bool) error {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.d.Size()))
	b = binary.BigEndian.AppendUint16(b, transmission)
	if zeroes {
		b = append(b, make([]byte, 124)...)
	}
	c.w.Write(b)
	return c.w.Flush()
}

// list answers with the one export, whose name is empty.
func (c *conn) list(data []byte) error {
	if len(data) != 0 {
		return c.reply(optList, repErrInvalid, nil)
	}
	if err := c.reply(optList, repServer, make([]byte, 4)); err != nil {
		return err
	}
	return c.reply(optList, repAck, nil)
}

// info answers GO and INFO: name length, name, number of requests, requests.
func (c *conn) info(kind uint32, data []byte) (ok bool, err error) {
	if len(data) < 6 {
		return false, c.reply(kind, repErrInvalid, nil)
	}
	n := binary.BigEndian.Uint32(data)
	if uint64(n) > uint64(len(data)-6) {
		return false, c.reply(kind, repErrInvalid, nil)
	}
	rest := data[4+n:]
	if len(rest) != 2+2*int(binary.BigEndian.Uint16(rest)) {
		return false, c.reply(kind, repErrInvalid, nil)
	}
	if n != 0 {
		return false, c.reply(kind, repErrUnknown, []byte("the export's name is empty"))
	}
	export := binary.BigEndian.AppendUint16(nil, infoExport)
	export = binary.BigEndian.AppendUint64(export, uint64(c.d.Size()))
	export = binary.BigEndian.AppendUint16(export, transmission)
	if err := c.reply(kind, repInfo, export); err != nil {
		return false, err
	}
	sizes := binary.BigEndian.AppendUint16(nil, infoBlockSize)
	sizes = binary.BigEndian.AppendUint32(sizes, blockSize)  // smallest
	sizes = binary.BigEndian.AppendUint32(sizes, 4096)       // preferred
	sizes = binary.BigEndian.AppendUint32(sizes, MaxRequest) // largest
	if err := c.reply(kind, repInfo, sizes); err != nil {
		return false, err
	}
	return true, c.reply(kind, repAck, nil)
}
