module peer {
    requires jdk.httpserver;
}
