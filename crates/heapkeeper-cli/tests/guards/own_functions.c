// A library with functions of its own under names of libc's.
struct list {
    struct list *next;
    double value;
};
double times(double a, double b) { return a * b; }
double poll(struct list *list, double factor) { return list->value * factor; }
double access(struct list *list, int nth) { return list->value + nth; }
long read(struct list *list) { return list->next == 0; }
long send(struct list *list, double value) {
    list->value = value;
    return 1;
}
double own_functions(void) {
    struct list list = {0, 1.5};
    long sent = send(&list, 2.5);
    return times(2, poll(&list, 3)) + access(&list, 1) + read(&list) + sent;
}
