package httpapi

// A result tells what came of one recipient.
type result struct {
	To     string `json:"to"`
	Status string `json:"status"` // accepted, refused or failed
	Code   Code   `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}
