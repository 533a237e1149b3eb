"""Directives that check no client: all of nginx's own but those that do, and those of modules in wide use.

What is not named here may have a handler in the access phase, which ``satisfy any`` lets count instead of
the list (ngx_http_core_access_phase).
"""

from __future__ import annotations

# The first are the parameters of checkers, which do nothing without these.
_FAMILIES = """
    auth_basic_ auth_delay auth_digest_ auth_gss_ auth_jwt_ auth_ldap_ auth_pam_ auth_request_
    access_log acme_ add_ aio ancient_browser app_protect_ brotli charset chunked_ client_ connection_ dav_
    directio echo f4f fancyindex fastcgi_ flv geo google_perftools grpc_ gunzip gzip health_check hls http2
    http3 image_filter js_ keepalive keyval large_client limit_ lingering_ log_ lua_ map memcached_ mirror
    modern_browser modsecurity more_ mp4 msie_ nchan_ open_file_cache open_log_file_cache opentelemetry
    opentracing otel_ pagespeed passenger perl proxy_ quic_ real_ip_ referer_ request_pool resolver scgi_
    secure_link send server session_log set_ slice spdy_ split_ ssi ssl status sub_filter subs_filter tcp_
    try_files types userid uwsgi_ variables_ vhost_traffic_status xslt_ zstd
"""
_NAMES = """
    absolute_redirect access_by_lua_no_postpone addition_types alias allow api autoindex
    autoindex_exact_size autoindex_format autoindex_localtime break create_full_put_path default_type deny
    disable_symlinks early_hints empty_gif error_log error_page etag expires http if if_modified_since
    ignore_invalid_headers include index internal listen location match max_headers max_ranges merge_slashes
    min_delete_depth output_buffers override_charset port_in_redirect post_action postpone_output
    random_index read_ahead recursive_error_pages reset_timedout_connection return rewrite rewrite_log root
    satisfy set source_charset stub_status subrequest_output_buffer_size thread_pool
    underscores_in_headers uninitialized_variable_warn upstream valid_referers xml_entities zone
"""
_BEGINNINGS, _WHOLE = tuple(_FAMILIES.split()), frozenset(_NAMES.split())


def is_harmless(name: str) -> bool:
    """Does the directive ``name`` check no client in the access phase?"""
    if name.startswith("access_by_lua") and name != "access_by_lua_no_postpone":
        return False
    return name in _WHOLE or "_by_lua" in name or (name != "js_access" and name.startswith(_BEGINNINGS))
