package httpapi

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openAPI []byte

// document is openapi.yaml as JSON.
var document = func() []byte {
	var tree any
	if err := yaml.Unmarshal(openAPI, &tree); err != nil {
		panic(fmt.Sprint("httpapi: openapi.yaml: ", err)) // it is part of the binary
	}
	text, err := json.Marshal(tree)
	if err != nil {
		panic(fmt.Sprint("httpapi: openapi.yaml: ", err))
	}
	return text
}()

// getOpenAPI answers with what all of this is.
func (s *Server) getOpenAPI(w http.ResponseWriter, _ *http.Request, _ *call) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(document)
	return nil
}
