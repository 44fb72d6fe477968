package link

import (
	"net/netip"
	"os"
	"testing"
	"time"
)

func TestKernelAnswersAPing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: echo requests need root")
	}
	p, err := NewPinger()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, to := range []string{"127.0.0.1", "::1"} {
		got := map[netip.Addr]bool{}
		for range 500 {
			p.Ask(netip.MustParseAddr(to))
			p.Answers(func(a netip.Addr) { got[a.Unmap()] = true })
			if got[netip.MustParseAddr(to)] {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if !got[netip.MustParseAddr(to)] {
			t.Errorf("no answer from %s, answers %v", to, got)
		}
	}
}

func TestOnlyOwnAnswersCount(t *testing.T) {
	p := &Pinger{id: 7, cookie: [8]byte{1, 2, 3}}
	reply := append([]byte{0, 0, 0, 0, 0, 7, 0, 1}, p.cookie[:]...)
	header := append([]byte{0x45}, make([]byte, 19)...)
	change := func(at int) []byte {
		m := append(append([]byte{}, header...), reply...)
		m[at] ^= 1
		return m
	}
	if !p.ours(append(append([]byte{}, header...), reply...), true) {
		t.Fatal("a good answer does not count")
	}
	for name, m := range map[string][]byte{
		"a request": change(20), "a code": change(21), "another's identifier": change(25), "another cookie": change(28),
		"nothing": nil, "a header that is cut short": header[:10], "no answer behind the header": header,
	} {
		if p.ours(m, true) {
			t.Errorf("%s counts", name)
		}
	}
}
