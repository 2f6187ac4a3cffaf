package database

import (
	"database/sql"
	"time"

	"github.com/lib/pq"
)

// OpenPatient is Open with another time for the server's answers.
func OpenPatient(c Config, answer time.Duration) (*sql.DB, error) {
	return open(c, patient(c, answer))
}

// NewPatientListener is NewListener with another time for the server's answers.
func NewPatientListener(c Config, answer time.Duration, event pq.EventCallbackType) (*pq.Listener, error) {
	return listen(c, patient(c, answer), event)
}

func patient(c Config, answer time.Duration) *dialer {
	d := newDialer(c)
	d.answer = answer
	return d
}
