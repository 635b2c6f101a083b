package shell

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// ping sends ICMP echoes over IPv4 and tells what comes back.
func ping(ctx context.Context, e *Env, args []string) error {
	o, rest, err := parseOptions(args, "c:W:i:qn")
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError("")
	}
	count, err := o.number('c', 1<<62)
	if err != nil {
		return err
	}
	wait, err := o.number('W', 2)
	if err != nil {
		return err
	}
	addr, err := net.ResolveIPAddr("ip4", rest[0])
	if err != nil {
		return err
	}
	conn, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	fmt.Fprintf(e.Stdout, "PING %s (%s)\n", rest[0], addr)
	id := uint16(unix.Getpid())
	got, sent := 0, 0
	for n := int64(0); n < count && ctx.Err() == nil; n++ {
		if n > 0 && pause(ctx, time.Second) != nil {
			break
		}
		sent++
		took, err := echo(conn, addr, id, uint16(n), time.Duration(wait)*time.Second)
		if err != nil {
			fmt.Fprintf(e.Stdout, "icmp_seq=%d: %v\n", n+1, err)
			continue
		}
		got++
		fmt.Fprintf(e.Stdout, "reply from %s: icmp_seq=%d time=%.3f ms\n", addr, n+1, float64(took.Microseconds())/1000)
	}
	fmt.Fprintf(e.Stdout, "%d packets transmitted, %d received\n", sent, got)
	if got == 0 {
		return exitStatus(1)
	}
	return nil
}

// echo sends one request and waits for its answer. RFC 792.
func echo(conn net.PacketConn, to net.Addr, id, seq uint16, wait time.Duration) (time.Duration, error) {
	msg := make([]byte, 64)
	msg[0] = 8
	binary.BigEndian.PutUint16(msg[4:], id)
	binary.BigEndian.PutUint16(msg[6:], seq)
	var sum uint32
	for i := 0; i < len(msg); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(msg[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(msg[2:], ^uint16(sum))
	start := time.Now()
	if _, err := conn.WriteTo(msg, to); err != nil {
		return 0, err
	}
	conn.SetReadDeadline(start.Add(wait))
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return 0, err
		}
		if n >= 8 && buf[0] == 0 && from.String() == to.String() && binary.BigEndian.Uint16(buf[4:]) == id && binary.BigEndian.Uint16(buf[6:]) == seq {
			return time.Since(start), nil
		}
	}
}
