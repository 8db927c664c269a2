package dashboard

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// A fileCache keeps the pages' files as they are sent. They never change while
// the program runs.
type fileCache struct {
	mu    sync.Mutex
	files map[string]cachedFile
}

type cachedFile struct {
	plain, packed []byte // packed is nil where it would not be smaller
	kind          string
}

// serveFile serves the pages. They hold no data, so they need no session; the
// token that is good for once arrives here.
func (s *server) serveFile(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.fail(w, r, problemMethod(w, map[string]handle{http.MethodGet: nil, http.MethodHead: nil}))
		return
	}
	if token := r.URL.Query().Get("token"); token != "" && r.URL.Path == "/" && r.Method == http.MethodGet {
		s.signIn(w, r, token)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	f, err := s.file(name)
	if err != nil {
		s.fail(w, r, problemf(http.StatusNotFound, "not_found", "There is nothing at %s.", clip(r.URL.Path, 200)))
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(name, "assets/") {
		// Their names have a hash of what is in them.
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body := f.plain
	if f.packed != nil {
		h.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			body = f.packed
		}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// signIn makes a session of the token that is good for once. Whoever has one
// already, or comes too late, gets the page, which says so.
func (s *server) signIn(w http.ResponseWriter, r *http.Request, token string) {
	if _, err := s.caller(r); err != nil && s.keys.takeOnce(token) {
		s.keys.setCookie(w, r, s.keys.newSession(time.Now()), int(sessionLife/time.Second))
	} else if err != nil {
		s.log.Warn("refused a token that is wrong or was used before", "from", r.RemoteAddr)
	}
	// The token must not stay in the address.
	w.Header().Set("Location", "./")
	w.WriteHeader(http.StatusSeeOther)
}

func (s *server) file(name string) (cachedFile, error) {
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	if f, ok := s.files.files[name]; ok {
		return f, nil
	}
	if s.cfg.Files == nil || !fs.ValidPath(name) {
		return cachedFile{}, fs.ErrNotExist
	}
	plain, err := fs.ReadFile(s.cfg.Files, name)
	if err != nil {
		return cachedFile{}, err
	}
	f := cachedFile{plain: plain, kind: kindOf(name)}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain); err == nil && z.Close() == nil && packed.Len() < len(plain)*9/10 {
		f.packed = packed.Bytes()
	}
	if s.files.files == nil {
		s.files.files = make(map[string]cachedFile)
	}
	s.files.files[name] = f
	return f, nil
}

// kindOf does not ask the machine's own tables for what the pages consist of.
func kindOf(name string) string {
	switch ext := path.Ext(name); ext {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".woff2":
		return "font/woff2"
	case ".webmanifest":
		return "application/manifest+json"
	default:
		if kind := mime.TypeByExtension(ext); kind != "" {
			return kind
		}
		return "application/octet-stream"
	}
}
