package shell

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func netCommands() []Command {
	return []Command{
		{"ip", "addr|link|route|neigh [show [dev NAME]] | link set NAME up|down | addr add|del ADDRESS dev NAME | route add|del PREFIX|default [via ADDRESS] [dev NAME]", ip},
		{"nc", "[-l] [-U PATH] [-w SECONDS] [HOST] PORT", nc},
		{"wget", "[-q] [-O FILE] [-T SECONDS] URL", wget},
		{"curl", "[-sSfLIk] [-o FILE] [-m SECONDS] [-X METHOD] [-d DATA] [-H HEADER] URL", curl},
		{"ping", "[-c COUNT] [-W SECONDS] HOST", ping},
	}
}

// ip shows and changes addresses, links and routes.
func ip(ctx context.Context, e *Env, args []string) error {
	family := netlink.FAMILY_ALL
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-4":
			family = netlink.FAMILY_V4
		case "-6":
			family = netlink.FAMILY_V6
		case "-o", "-br":
		default:
			return usageError("unknown option " + args[0])
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return usageError("")
	}
	object, args := args[0], args[1:]
	verb := "show"
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	words := ipWords(args)
	is := func(name string) bool { return strings.HasPrefix(name, object) }
	switch {
	case is("address") && isShow(verb):
		return ipLinks(e, words["dev"]+words[""], family, true)
	case is("link") && isShow(verb):
		return ipLinks(e, words["dev"]+words[""], family, false)
	case is("route") && isShow(verb):
		return ipRoutes(e, family)
	case is("neighbour") && isShow(verb):
		return ipNeighbours(e, family)
	case is("link") && verb == "set":
		return ipSetLink(words)
	case is("address") && (verb == "add" || verb == "del"):
		return ipSetAddress(verb, words)
	case is("route") && (verb == "add" || verb == "del"):
		return ipSetRoute(verb, words)
	}
	return usageError("")
}

func isShow(verb string) bool { return verb == "show" || verb == "list" || verb == "ls" }

// ipWords reads "NAME dev X via Y up": the word without a key is under "".
func ipWords(args []string) map[string]string {
	words := map[string]string{}
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case (a == "dev" || a == "via" || a == "mtu" || a == "metric") && i+1 < len(args):
			words[a] = args[i+1]
			i++
		case a == "up" || a == "down":
			words[a] = a
		default:
			words[""] = a
		}
	}
	return words
}

func ipLinks(e *Env, only string, family int, addresses bool) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	found := false
	for _, l := range links {
		a := l.Attrs()
		if only != "" && a.Name != only {
			continue
		}
		found = true
		flags := strings.ToUpper(strings.ReplaceAll(a.Flags.String(), "|", ","))
		fmt.Fprintf(e.Stdout, "%d: %s: <%s> mtu %d state %s\n", a.Index, a.Name, flags, a.MTU, strings.ToUpper(a.OperState.String()))
		fmt.Fprintf(e.Stdout, "    link/%s %s\n", a.EncapType, a.HardwareAddr)
		if !addresses {
			continue
		}
		list, err := netlink.AddrList(l, family)
		if err != nil {
			return err
		}
		for _, addr := range list {
			inet := "inet"
			if addr.IP.To4() == nil {
				inet = "inet6"
			}
			fmt.Fprintf(e.Stdout, "    %s %s scope %s %s\n", inet, addr.IPNet, netlink.Scope(addr.Scope), addr.Label)
		}
	}
	if only != "" && !found {
		return fmt.Errorf("%s: no such device", only)
	}
	return nil
}

func linkName(index int) string {
	if l, err := netlink.LinkByIndex(index); err == nil {
		return l.Attrs().Name
	}
	return fmt.Sprintf("if%d", index)
}

func ipRoutes(e *Env, family int) error {
	if family == netlink.FAMILY_ALL {
		family = netlink.FAMILY_V4 // as iproute2 shows by default
	}
	routes, err := netlink.RouteList(nil, family)
	if err != nil {
		return err
	}
	for _, r := range routes {
		line := "default"
		if r.Dst != nil && !(r.Dst.IP.IsUnspecified() && r.Dst.String()[strings.IndexByte(r.Dst.String(), '/'):] == "/0") {
			line = r.Dst.String()
		}
		if r.Gw != nil {
			line += " via " + r.Gw.String()
		}
		line += " dev " + linkName(r.LinkIndex)
		if r.Src != nil {
			line += " src " + r.Src.String()
		}
		if r.Priority != 0 {
			line += fmt.Sprintf(" metric %d", r.Priority)
		}
		fmt.Fprintln(e.Stdout, line)
	}
	return nil
}

func ipNeighbours(e *Env, family int) error {
	list, err := netlink.NeighList(0, family)
	for _, n := range list {
		if n.State != unix.NUD_NOARP {
			fmt.Fprintf(e.Stdout, "%s dev %s lladdr %s\n", n.IP, linkName(n.LinkIndex), n.HardwareAddr)
		}
	}
	return err
}

func ipSetLink(words map[string]string) error {
	l, err := netlink.LinkByName(words["dev"] + words[""])
	switch {
	case err != nil:
		return err
	case words["up"] != "":
		return netlink.LinkSetUp(l)
	case words["down"] != "":
		return netlink.LinkSetDown(l)
	}
	return usageError("link set: up or down")
}

func ipSetAddress(verb string, words map[string]string) error {
	l, err := netlink.LinkByName(words["dev"])
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(words[""])
	if err != nil {
		return usageError(err.Error())
	}
	if verb == "del" {
		return netlink.AddrDel(l, addr)
	}
	return netlink.AddrAdd(l, addr)
}

func ipSetRoute(verb string, words map[string]string) error {
	r := &netlink.Route{}
	if dst := words[""]; dst != "default" {
		n, err := netlink.ParseIPNet(dst)
		if err != nil {
			return usageError(err.Error())
		}
		r.Dst = n
	}
	if via := words["via"]; via != "" {
		if r.Gw = net.ParseIP(via); r.Gw == nil {
			return usageError(via + " is no address")
		}
	}
	if dev := words["dev"]; dev != "" {
		l, err := netlink.LinkByName(dev)
		if err != nil {
			return err
		}
		r.LinkIndex = l.Attrs().Index
	}
	if verb == "del" {
		return netlink.RouteDel(r)
	}
	return netlink.RouteAdd(r)
}

// nc connects its input and output with a socket, or with -l waits for one
// connection to do so.
func nc(ctx context.Context, e *Env, args []string) error {
	o, rest, err := parseOptions(args, "lU:w:p:q:zN")
	if err != nil {
		return err
	}
	wait, err := o.number('w', 0)
	if err != nil {
		return err
	}
	network, address := "tcp", ""
	switch {
	case o.has('U'):
		network, address = "unix", o['U']
	case o.has('l') && len(rest) <= 1:
		address = ":" + strings.Join(rest, "") + o['p']
	case len(rest) == 2:
		address = net.JoinHostPort(rest[0], rest[1])
	default:
		return usageError("")
	}
	conn, err := connect(ctx, network, address, o.has('l'), time.Duration(wait)*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if o.has('z') {
		return nil
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	go func() {
		io.Copy(conn, e.Stdin)
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	}()
	_, err = io.Copy(e.Stdout, conn)
	return err
}

func connect(ctx context.Context, network, address string, listen bool, wait time.Duration) (net.Conn, error) {
	if !listen {
		return (&net.Dialer{Timeout: wait}).DialContext(ctx, network, address)
	}
	l, err := new(net.ListenConfig).Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	return l.Accept()
}

// wget is a small part of GNU's: one file.
func wget(ctx context.Context, e *Env, args []string) error {
	o, rest, err := parseOptions(args, "qO:T:")
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError("")
	}
	out := o['O']
	if out == "" {
		if out = path.Base(rest[0]); out == "/" || out == "." {
			out = "index.html"
		}
	}
	with := []string{"-f", "-L", "-o", out}
	if o.has('T') {
		with = append(with, "-m", o['T'])
	}
	return curl(ctx, e, append(with, "--", rest[0]))
}

// curl is a small part of curl. Without -f a status of 400 and above is no
// failure, as there; -s is taken, for there is no progress to show.
func curl(ctx context.Context, e *Env, args []string) error {
	o, rest, err := parseOptions(args, "sSfLIikvo:m:X:d:H:")
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError("")
	}
	limit, err := o.number('m', 0)
	if err != nil {
		return err
	}
	if limit > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, time.Duration(limit)*time.Second)
		defer cancel()
	}
	url := rest[0]
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	req, err := curlRequest(ctx, o, url)
	if err != nil {
		return usageError(err.Error())
	}
	res, err := curlClient(o).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if o.has('f') && res.StatusCode >= 400 {
		fmt.Fprintf(e.Stderr, "curl: %s: %s\n", url, res.Status)
		return exitStatus(22)
	}
	if o.has('I') || o.has('i') {
		fmt.Fprintf(e.Stdout, "%s %s\n", res.Proto, res.Status)
		res.Header.Write(e.Stdout)
		fmt.Fprintln(e.Stdout)
	}
	if name := o['o']; name != "" && name != "-" {
		f, err := os.Create(e.Path(name))
		if err != nil {
			return err
		}
		_, err = io.Copy(f, res.Body)
		return errors.Join(err, f.Close())
	}
	_, err = io.Copy(e.Stdout, res.Body)
	return err
}

func curlRequest(ctx context.Context, o options, url string) (*http.Request, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if o.has('I') {
		method = http.MethodHead
	}
	if o.has('d') {
		method, body = http.MethodPost, strings.NewReader(o['d'])
	}
	if o.has('X') {
		method = o['X']
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	if o.has('d') {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if name, value, ok := strings.Cut(o['H'], ":"); ok {
		req.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return req, nil
}

func curlClient(o options) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	if o.has('k') {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	client := &http.Client{Transport: transport}
	if !o.has('L') {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return client
}
