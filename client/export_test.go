package client

import (
	"bytes"
	"net/url"
	"time"

	"github.com/countersign/countersign/proposer/api"
)

// SetSilence sets how long a stream may say nothing.
func SetSilence(c *Client, d time.Duration) { c.silence = d }

// ReadEvents reads a stream about a request as Watch does, and returns what was
// shown.
func ReadEvents(id string, stream []byte) (shown []api.Request, err error) {
	w := &watch{client: &Client{caller: caller{base: &url.URL{Host: "proposer.test"}}}, id: id, each: func(r api.Request) error {
		shown = append(shown, r)
		return nil
	}}
	return shown, w.events(bytes.NewReader(stream), func() {})
}
