package webhook_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/message"
	"github.com/countersign/countersign/proposer/webhook"
)

// The policy document's quorum names the addresses. Still none leads to what
// listens on the proposer's own machine or network.
func TestAttackAddressInside(t *testing.T) {
	w := newWorld(t)
	w.http.Allowed = nil
	inside := w.receive(nil)
	port := inside.Listener.Addr().(*net.TCPAddr).Port
	at := func(host string) string { return "https://" + net.JoinHostPort(host, itoa(port)) + "/" }
	targets := map[string]string{
		"loopback":       at("127.0.0.1"),
		"loopback-other": at("127.9.9.9"),
		"loopback-6":     at("::1"),
		"mapped":         at("::ffff:127.0.0.1"),
		"compatible":     at("::127.0.0.1"),
		"nat64":          at("64:ff9b::7f00:1"),
		"6to4":           at("2002:7f00:1::"),
		"name":           at("localhost"), // judged by what it stands for
		"short":          at("127.1"),
		"number":         at("2130706433"),
		"octal":          at("0177.0.0.1"),
		"hexadecimal":    at("0x7f000001"),
		"unspecified":    at("0.0.0.0"),
		"unspecified-6":  at("::"),
		"metadata":       "https://169.254.169.254/latest/meta-data/",
		"metadata-6":     "https://[fd00:ec2::254]/",
		"private-10":     "https://10.0.0.1/",
		"private-172":    "https://172.31.255.255/",
		"private-192":    "https://192.168.1.1/",
		"shared":         "https://100.64.0.1/",
		"link-local-6":   "https://[fe80::1]/",
		"multicast":      "https://224.0.0.1/",
		"multicast-6":    "https://[ff02::1]/",
		"broadcast":      "https://255.255.255.255/",
		"benchmark":      "https://198.18.0.1/",
	}
	for name, target := range targets {
		t.Run(name, func(t *testing.T) {
			got := webhook.Post(t.Context(), w.http, target)
			// What is no address to this machine's resolver is not found.
			if !strings.Contains(got, "not one of the public internet") && got != "its name was not found" {
				t.Errorf("%s: %q", target, got)
			}
		})
	}
	// A redirect to inside is not followed either, whatever the status.
	w.http.Allowed = loopback
	for _, code := range []int{301, 302, 303, 307, 308} {
		lure := w.receive(func(_ int, rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, inside.URL, code) })
		if got := webhook.Post(t.Context(), w.http, lure.URL); got != "it answered "+itoa(code) {
			t.Errorf("%d: %q", code, got)
		}
	}
	if n := len(inside.all()); n != 0 {
		t.Errorf("%d messages reached the inside", n)
	}
	if got := webhook.Post(t.Context(), w.http, inside.URL); got != "" {
		t.Errorf("a network that is allowed: %q", got)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func TestAddresses(t *testing.T) {
	allowed := webhook.HTTP{Allowed: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	for text, want := range map[string]bool{
		"1.1.1.1": true, "8.8.8.8": true, "2606:4700::1111": true, "::ffff:1.1.1.1": true,
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "172.32.0.1": true, "172.16.0.1": false,
		"100.128.0.1": true, "192.0.3.1": true, "2001:db8::1": false, "2001::1": false, "2001:200::1": true,
		"fc00::1": false, "fe80::1%eth0": false, "2606:4700::1111%eth0": false, "4000::1": false, "::": false,
	} {
		if got := webhook.Allows(allowed, netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if webhook.Allows(allowed, netip.Addr{}) {
		t.Error("no address is allowed")
	}
}

// A receiver must show a certificate that is good for its name, by TLS 1.2 at least.
func TestAttackReceiverImpersonated(t *testing.T) {
	w := newWorld(t)
	good := w.receive(nil)
	for name, server := range map[string]func() (url string){
		"other-ca": func() string {
			s := httptest.NewTLSServer(http.NotFoundHandler())
			t.Cleanup(s.Close)
			w.http.CAs = nil
			return s.URL
		},
		"other-name": func() string { return strings.Replace(good.URL, "127.0.0.1", "localhost", 1) },
		"old-tls": func() string {
			s := httptest.NewUnstartedServer(http.NotFoundHandler())
			s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
			s.StartTLS()
			t.Cleanup(s.Close)
			return s.URL
		},
		"plain": func() string {
			s := httptest.NewServer(http.NotFoundHandler())
			t.Cleanup(s.Close)
			return strings.Replace(s.URL, "http:", "https:", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cas := w.http.CAs
			defer func() { w.http.CAs = cas }()
			if got := webhook.Post(t.Context(), w.http, server()); got != "TLS failed" {
				t.Errorf("got %q", got)
			}
		})
	}
	if got := webhook.Post(t.Context(), w.http, good.URL); got != "" {
		t.Errorf("the right one: %q", got)
	}
}

// No proxy is taken from the environment; one that is configured makes every
// connection, and an address inside is not asked of it.
func TestProxy(t *testing.T) {
	w := newWorld(t)
	r := w.receive(nil)
	asked := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		asked <- req.Method + " " + req.Host
		rw.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	if got := webhook.Post(t.Context(), w.http, r.URL); got != "" || len(asked) != 0 {
		t.Errorf("%q, %d asked the proxy of the environment", got, len(asked))
	}
	u, err := url.Parse(proxy.URL)
	w.must(err)
	through := webhook.HTTP{Proxy: u}
	if got := webhook.Post(t.Context(), through, "https://hooks.example/in"); got != "the connection failed" {
		t.Errorf("got %q", got)
	}
	if got := <-asked; got != "CONNECT hooks.example:443" {
		t.Errorf("the proxy was asked: %s", got)
	}
	if got := webhook.Post(t.Context(), through, "https://10.0.0.1/"); !strings.Contains(got, "public internet") || len(asked) != 0 {
		t.Errorf("an address inside: %q", got)
	}
}

// A silent receiver is given up when the time is over.
func TestNoAnswerInTime(t *testing.T) {
	w := newWorld(t)
	r := w.receive(silent)
	begun := time.Now()
	got := webhook.Post(t.Context(), w.http, r.URL)
	if took := time.Since(begun); got != "it did not answer in time" || took < 14*time.Second || took > 40*time.Second {
		t.Errorf("%q after %v", got, took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if got := webhook.Post(ctx, w.http, "https://hooks.invalid/"); got != "its name was not found" && got != "it did not answer in time" {
		t.Errorf("got %q", got)
	}
}

// The schedule of docs/webhooks.md.
func TestSchedule(t *testing.T) {
	for _, c := range []struct{ age, want time.Duration }{
		{-time.Hour, 5 * time.Second},
		{0, 5 * time.Second},
		{5 * time.Second, 30 * time.Second},
		{36 * time.Second, 2 * time.Minute},
		{3 * time.Minute, 10 * time.Minute},
		{15 * time.Minute, 30 * time.Minute},
		{45 * time.Minute, 2 * time.Hour},
		{3 * time.Hour, 5 * time.Hour},
		{8 * time.Hour, 10 * time.Hour},
		{20 * time.Hour, 10 * time.Hour},
		{71 * time.Hour, 10 * time.Hour},
	} {
		seen := map[time.Duration]bool{}
		for range 100 {
			got := webhook.RetryAfter(c.age)
			seen[got] = true
			if got < c.want*8/10 || got > c.want*12/10 {
				t.Errorf("after %v: %v, want %v and a fifth either way", c.age, got, c.want)
			}
		}
		if len(seen) < 50 {
			t.Errorf("after %v: %d different delays of 100", c.age, len(seen))
		}
	}
}

// What a receiver asks for in a 429 or 503, and nothing else that it says.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		status int
		header string
		want   time.Duration
	}{
		"seconds":         {429, "90", 90 * time.Second},
		"unavailable":     {503, "90", 90 * time.Second},
		"date":            {503, "Sun, 22 Nov 2026 13:00:00 GMT", time.Hour},
		"old-date-form":   {503, "Sunday, 22-Nov-26 13:00:00 GMT", time.Hour},
		"date-past":       {503, "Sun, 22 Nov 2026 11:00:00 GMT", 0},
		"none":            {429, "", 0},
		"zero":            {429, "0", 0},
		"other-status":    {500, "90", 0},
		"redirect":        {302, "90", 0},
		"enormous":        {429, "99999999999999999999999", 72 * time.Hour},
		"overflowing":     {429, "9223372036854775807", 72 * time.Hour},
		"fail/negative":   {429, "-90", 0},
		"fail/plus":       {429, "+90", 0},
		"fail/fraction":   {429, "1.5", 0},
		"fail/unit":       {429, "90s", 0},
		"fail/local-time": {503, "Sun, 22 Nov 2026 13:00:00 CET", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{T: t, http: webhook.HTTP{Allowed: loopback}}
			r := w.receive(func(_ int, rw http.ResponseWriter, _ *http.Request) {
				if c.header != "" {
					rw.Header().Set("Retry-After", c.header)
				}
				rw.WriteHeader(c.status)
			})
			if got := webhook.Asked(t.Context(), w.http, r.URL, now); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// However long or short a receiver asks for, the delay keeps to the schedule: not
// sooner than its next step, not later than its longest.
func TestRetryAfterWithinSchedule(t *testing.T) {
	const longest = 10 * time.Hour
	for _, c := range []struct{ asked, age, least, most time.Duration }{
		{0, 0, 4 * time.Second, 6 * time.Second},
		{time.Second, 0, 4 * time.Second, 6 * time.Second},
		{time.Second, 20 * time.Hour, 8 * time.Hour, 12 * time.Hour},
		{time.Minute, 0, time.Minute, 72 * time.Second},
		{9 * time.Hour, 0, 9 * time.Hour, longest},
		{longest, 0, longest, longest},
		{72 * time.Hour, 0, longest, longest},
		{1<<63 - 1, 0, longest, longest},
	} {
		seen := map[time.Duration]bool{}
		for range 100 {
			got := webhook.Heeded(c.asked, c.age)
			seen[got] = true
			if got < c.least || got > c.most {
				t.Errorf("asked for %v after %v: %v, want %v to %v", c.asked, c.age, got, c.least, c.most)
			}
		}
		if c.least != c.most && len(seen) < 10 {
			t.Errorf("asked for %v after %v: %d different delays of 100", c.asked, c.age, len(seen))
		}
	}
}

// The specification's own example, signed as every message is.
func TestStandardWebhooksVector(t *testing.T) {
	const (
		id, at, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, `{"test": 2432232314}`
		want         = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	)
	if got := webhook.Sign(t, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", id, time.Unix(at, 0), []byte(body)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMessageID(t *testing.T) {
	if got := webhook.MessageID("0197e5c2-0000-7000-8000-000000000001", "books"); got != "0197e5c2-0000-7000-8000-000000000001_books" || strings.Contains(got, ".") {
		t.Errorf("got %s", got)
	}
	if message.StatusSigned != "signed" {
		t.Error("types of events are made of statuses")
	}
}
