# Sends the requests of a curl config on standard input, one after the other; prints status and size of each.
command -v curl >/dev/null || { echo "curl is not installed: nginx was not asked" >&2; exit 1; }
# The requests that get no answer make curl fail; their line says 000.
curl --disable --silent --config - || true
