package database

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/lib/pq"
)

// How fast a listener reconnects: quickly at first, since a failover is over
// in a second, then gently.
const (
	minReconnect = 200 * time.Millisecond
	maxReconnect = 10 * time.Second
)

// NewListener returns a connection for LISTEN that reconnects by itself, over
// the same verified TLS and SCRAM as Open. After each reconnection it delivers
// a nil notification: some may have been lost. Event may be nil; it must
// return quickly. A connection that was not pinged for 65 s is given up, so
// that whoever listens must ping more often.
func NewListener(c Config, event pq.EventCallbackType) (*pq.Listener, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("opening listener: %w", err)
	}
	return listen(c, newDialer(c), event)
}

func listen(c Config, dial *dialer, event pq.EventCallbackType) (*pq.Listener, error) {
	dsn, err := c.dsn()
	if err != nil {
		return nil, fmt.Errorf("opening listener: %w", err)
	}
	return pq.NewDialListener(dial, dsn, minReconnect, maxReconnect, event), nil
}

// dsn writes the driver's configuration as key='value' pairs, which is all
// that the driver's listener takes.
func (c Config) dsn() (string, error) {
	hosts, err := c.hosts()
	if err != nil {
		return "", err
	}
	var names, ports []string
	for _, h := range hosts {
		names, ports = append(names, h.name), append(ports, fmt.Sprint(h.port))
	}
	values := map[string]string{
		"host": strings.Join(names, ","), "port": strings.Join(ports, ","),
		"dbname": c.Name, "user": c.User, "password": string(c.Password.Bytes()),
		"sslmode": "disable", "connect_timeout": fmt.Sprint(int(connectTimeout.Seconds())),
		"application_name": c.User + "_listener", "search_path": Schema,
		"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
	}
	if len(hosts) > 1 {
		values["target_session_attrs"] = "read-write"
	}
	keys := make([]string, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	escape := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var out strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&out, "%s='%s' ", k, escape.Replace(values[k]))
	}
	return out.String(), nil
}
