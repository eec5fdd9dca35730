<?php
// The same for PHP.
echo $_SERVER['REQUEST_METHOD'] === 'POST' ? file_get_contents('php://input') : 'hello';
