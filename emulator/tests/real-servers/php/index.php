<?php
// A function for the server of PHP: hooks, events that are echoed, and `GET /`.
const HOOKS = ['/initialize' => 'POST', '/pre-freeze' => 'GET', '/pre-stop' => 'GET'];
$method = $_SERVER['REQUEST_METHOD'];
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
// A client of an HTTP trigger must not reach the hooks.
$inside = ($_SERVER['HTTP_X_FC_CONTROL_PATH'] ?? '') !== '/http-invoke';
$answer = [404, 'no such path'];
if ($inside && (HOOKS[$path] ?? '') === $method) {
    $answer = [200, 'ok'];
} elseif ($inside && $method === 'POST' && $path === '/invoke') {
    $answer = [200, file_get_contents('php://input')];
} elseif ($method === 'GET' && $path === '/') {
    $answer = [200, 'hello'];
}
http_response_code($answer[0]);
header('x-fc-status: ' . ($answer[0] < 400 ? '200' : '404'));
header('Content-Type: application/octet-stream');
header('Content-Length: ' . strlen($answer[1]));
echo $answer[1];
